"""Config → TransformerConfig → GPTModel → Megatron's DistributedDataParallel.

Construction of the model is in `build_gpt` alone: Megatron-Core has marked GPTModel as frozen in favour of
HybridModel (megatron/core/models/gpt/gpt_model.py), and that is the function to change.
"""

import math
from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.transformer.enums import AttnBackend
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_recipe import (
    cpu_backend,
    engine_layers,
    kernel_trial,
    kernels,
    overlap,
    parallel,
    precision,
    recompute,
    wgrad_fusion,
)
from megatron_recipe.config import Config, MemoryConfig
from megatron_recipe.flops import padded_vocab_size
from megatron_recipe.kernels import Kernels
from megatron_recipe.local_layers import RMSNorm, local_layer_spec
from megatron_recipe.loss_head import gpt_model
from megatron_recipe.padded_vocabulary import leave_padding_out
from megatron_recipe.rope_scaling import scale_rotary_frequencies


def transformer_engine_is_there() -> bool:
    """Whether Megatron can build its Transformer Engine layers on this machine."""
    if cpu_backend.is_needed():
        return False
    try:
        import transformer_engine.pytorch  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def chosen_kernels(config: Config) -> Kernels | None:
    """The kernels of this machine's card; None where there is no Transformer Engine, hence no choice."""
    if not transformer_engine_is_there():
        return None
    return kernels.choose(config, torch.cuda.get_device_capability(), kernel_trial.runs_here)


def layers_name(config: Config) -> str:
    """What computes the layers, for the log."""
    chosen = chosen_kernels(config)
    if chosen is None:
        return "Megatron-Core local"
    return "Transformer Engine" + (", fused" if chosen.layer == "fused" else "")


def transformer_config(config: Config) -> TransformerConfig:
    """Megatron's configuration of the model, its layout and its arithmetic."""
    model, layout = config.model, config.parallel
    on_cpu = cpu_backend.is_needed()
    with_engine = transformer_engine_is_there()
    init = torch.nn.init.normal_
    output_std = model.init_std / math.sqrt(2 * model.num_layers)
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        ffn_hidden_size=model.ffn_hidden_size,
        num_attention_heads=model.num_heads,
        num_query_groups=model.num_kv_groups,
        kv_channels=model.head_dim,
        normalization="RMSNorm",
        layernorm_epsilon=model.norm_epsilon,
        qk_layernorm=model.qk_norm,
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        add_bias_linear=False,
        add_qkv_bias=model.qkv_bias,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        init_method=lambda weight: init(weight, mean=0.0, std=model.init_std),
        output_layer_init_method=lambda weight: init(weight, mean=0.0, std=output_std),
        **precision.model_settings(config.precision),
        **recompute.model_settings(config.memory),
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        virtual_pipeline_model_parallel_size=parallel.virtual_stages(config),
        context_parallel_size=layout.context,
        sequence_parallel=layout.sequence_parallel,
        use_cpu_initialization=on_cpu,
        **pipeline_communication(config, on_cpu),
        bias_activation_fusion=not on_cpu,
        apply_rope_fusion=with_engine,
        # queries, keys and values turned and parted in one pass: where nothing comes between the product and RoPE
        fused_single_qkv_rope=with_engine
        and not (model.qk_norm or config.data.mask_between_documents or layout.context > 1),
        # the fused one rounds the gradients of the logits to BF16, whatever they are
        cross_entropy_loss_fusion=not on_cpu and config.precision.dtype == "bf16",
        **attention_settings(config),
        # with FP32 weights there is no cast to save
        gradient_accumulation_fusion=with_engine and config.precision.dtype != "fp32",
        # the loss is the mean over the tokens of the whole global batch, not the mean of the ranks' means
        calculate_per_token_loss=True,
    )


def pipeline_communication(config: Config, on_cpu: bool) -> dict[str, bool]:
    """Fields of Megatron's TransformerConfig that say how stages send to each other.

    A batch of sends and receives tells two messages between the same two ranks by their order alone. Interleaved
    stages send both ways at once, and with two stages to the same rank: their messages were exchanged on NCCL, without
    an error (measured: a loss of 5.33 instead of 5.24 at the first step). So these send one by one, which is also what
    lets them send while they compute. gloo has no batched calls at all.
    """
    interleaved = config.parallel.virtual_stages > 1
    return {"batch_p2p_comm": not (on_cpu or interleaved), "overlap_p2p_comm": interleaved}


def attention_settings(config: Config) -> dict[str, Any]:
    """Fields of Megatron's TransformerConfig that choose among Transformer Engine's attention kernels.

    With `flash` these are for documents that do not see each other.
    """
    if config.kernels.attention == "flash":
        return {"attention_backend": AttnBackend.flash, "flash_attention_version": 4}
    return {"attention_backend": AttnBackend.fused if config.kernels.attention == "cudnn" else AttnBackend.auto}


def layer_spec(
    config: TransformerConfig, memory: MemoryConfig, chosen: Kernels | None, virtual_stage: int | None
) -> ModuleSpec | TransformerBlockSubmodules:
    """Transformer Engine's layers where it is there, fused or not, else Megatron's local ones."""
    if chosen:
        return engine_layers.spec(config, chosen, memory)
    layer = local_layer_spec(config.qk_layernorm)
    if memory.recompute == "selective":
        recompute.use_recomputed_activation(layer)
    num_layers = get_num_layers_to_build(config, virtual_stage)
    return TransformerBlockSubmodules(layer_specs=[layer] * num_layers, layer_norm=RMSNorm)


def build_gpt(config: Config, vocab_size: int, virtual_stage: int | None = None) -> GPTModel:
    """One pipeline stage of the model (the whole model without pipeline parallelism), on the current device.

    vocab_size: the tokenizer's; the embedding has `padded_vocab_size` rows.
    """
    megatron = transformer_config(config)
    if megatron.gradient_accumulation_fusion:
        wgrad_fusion.install()
    if megatron.fused_single_qkv_rope:
        engine_layers.use_rotary_kernels()
    chosen = chosen_kernels(config)
    padded_size = padded_vocab_size(vocab_size, config.model)
    gpt = gpt_model(chosen, vocab_size, padded_size)(
        config=megatron,
        transformer_layer_spec=layer_spec(megatron, config.memory, chosen, virtual_stage),
        vocab_size=padded_size,
        max_sequence_length=config.model.sequence_length_tokens,
        pre_process=parallel.is_first_stage(virtual_stage),
        post_process=parallel.is_last_stage(virtual_stage),
        share_embeddings_and_output_weights=config.model.tied_embeddings,
        position_embedding_type="rope",
        rotary_base=config.model.rope_theta,
        vp_stage=virtual_stage,
    )
    scale_rotary_frequencies(gpt, config.model.rope_scaling)
    leave_padding_out(gpt, vocab_size)
    return gpt


def build_model(config: Config, vocab_size: int, device: torch.device) -> list[DistributedDataParallel]:
    """All pieces of the model on this rank, ready to train: one, or one for each virtual pipeline stage."""
    stages: list[Any] = list(range(config.parallel.virtual_stages)) if parallel.virtual_stages(config) else [None]
    chunks = [build_gpt(config, vocab_size, stage).to(device) for stage in stages]
    beside = overlap.overlap_of(config.parallel)
    ddp = DistributedDataParallelConfig(
        grad_reduce_in_fp32=config.precision.gradients == "fp32",
        use_distributed_optimizer=config.parallel.distributed_optimizer,
        overlap_grad_reduce=beside.grad_reduce,
        overlap_param_gather=beside.param_gather,
        check_for_nan_in_grad=False,
    )
    wrapped = [
        DistributedDataParallel(chunk.config, ddp, chunk, disable_bucketing=index > 0)
        for index, chunk in enumerate(chunks)
    ]
    for chunk in wrapped:
        chunk.broadcast_params()
    wrapped[0].config.finalize_model_grads_func = finalize_model_grads
    overlap.connect(wrapped)
    return wrapped
