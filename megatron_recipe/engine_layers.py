"""Specifications of GPT layers on Transformer Engine: its modules one after the other, or fused; either attention."""

from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_with_transformer_engine_spec
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_recipe import recompute
from megatron_recipe.config import MemoryConfig
from megatron_recipe.fused_layer import fused_layer_spec
from megatron_recipe.kernels import Kernels
from megatron_recipe.layer_kernels import QuackKernels


def spec(config: TransformerConfig, chosen: Kernels, memory: MemoryConfig) -> ModuleSpec:
    """A layer of the kernels that were chosen."""
    layer = _fused_spec(config) if chosen.layer == "fused" else _plain_spec(config, memory)
    if chosen.attention == "flash":
        from megatron_recipe.flash_attention import FlashAttention

        layer.submodules.self_attention.submodules.core_attention = FlashAttention
    return layer


def use_rotary_kernels() -> None:
    """Let Megatron's attention turn queries and keys by this package's kernels, in this process from now on."""
    from megatron_recipe import rotary_kernels

    rotary_kernels.install()


def _plain_spec(config: TransformerConfig, memory: MemoryConfig) -> ModuleSpec:
    """Megatron's layer of Transformer Engine's modules."""
    layer = get_gpt_layer_with_transformer_engine_spec(qk_layernorm=config.qk_layernorm)
    if memory.recompute == "selective":
        recompute.use_recomputed_activation(layer)
    return layer


def _fused_spec(config: TransformerConfig) -> ModuleSpec:
    """The layer of `fused_layer`; with FP8, Transformer Engine's with its fused feed-forward."""
    if config.fp8:
        from megatron_recipe.fp8_feed_forward import fused_fp8_spec

        return fused_fp8_spec(qk_norm=config.qk_layernorm)
    from megatron.core.extensions.transformer_engine_spec_provider import TESpecProvider

    return fused_layer_spec(TESpecProvider(), QuackKernels(), qk_norm=config.qk_layernorm)
