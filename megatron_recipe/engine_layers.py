"""Specifications of GPT layers on Transformer Engine: its modules one after the other, or fused."""

from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_with_transformer_engine_spec
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_recipe.fused_layer import fused_layer_spec
from megatron_recipe.layer_kernels import QuackKernels


def plain_spec(config: TransformerConfig) -> ModuleSpec:
    """Megatron's layer of Transformer Engine's modules."""
    return get_gpt_layer_with_transformer_engine_spec(qk_layernorm=config.qk_layernorm)


def fused_spec(config: TransformerConfig) -> ModuleSpec:
    """The layer of `fused_layer`; with FP8, Transformer Engine's with its fused feed-forward."""
    if config.fp8:
        from megatron_recipe.fp8_feed_forward import keep_scaling_history

        return keep_scaling_history(
            get_gpt_layer_with_transformer_engine_spec(qk_layernorm=config.qk_layernorm, use_te_op_fuser=True)
        )
    from megatron.core.extensions.transformer_engine_spec_provider import TESpecProvider

    return fused_layer_spec(TESpecProvider(), QuackKernels(), qk_norm=config.qk_layernorm)
