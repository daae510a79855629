"""Memory of one GPU in training, by part, from what each layer keeps for its backward pass.

The parts are those of Megatron-Core with Transformer Engine's layers: fused norm + linear, weight gradients added in
the product, flash attention, SwiGLU in one kernel or in the product, cross entropy over the logits. The peak is at the
end of the forward pass (all activations and the logits), or at the beginning of the backward pass where the vocabulary
is small. Measured peaks that this is held against are in tests/plan/test_plan_memory.py.
"""

from dataclasses import dataclass, fields

from megatron_recipe.config import Config
from megatron_recipe.flops import padded_vocab_size
from megatron_recipe.plan.layer_memory import backward_bytes, gathered_bytes, kept_bytes, value_bytes
from megatron_recipe.plan.parameters import Parameters, count_on_rank

RECOMPUTE_LEVELS = ("none", "selective", "full")
GRADIENT_BYTES = {"fp32": 4, "bf16": 2}
MASTER_BYTES = 4
ROUNDED_MASTER_BYTES = 2  # of a master weight, what its BF16 weight lacks
MOMENT_BYTES = {"fp32": 4, "bf16": 2}
# cuBLAS's workspace and Transformer Engine's, 32 MiB each on Hopper, and small tensors.
WORKSPACE_BYTES = 100_000_000
# Outside of torch's allocator: the CUDA context with its kernels, and NCCL's buffers for each group of ranks.
CONTEXT_BYTES = 600_000_000
NCCL_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU at the peak of a step."""

    weights: int
    gradients: int
    """Main gradients, summed over micro-batches and ranks in their own type."""
    optimizer: int
    """Master weights and moments: this rank's share."""
    fp8_weights: int
    """Copies of the layers' matrices in FP8, one of them transposed, kept over the micro-batches of a step."""
    activations: int
    """What the layers keep for the backward pass."""
    loss: int
    """The largest of what is there for a moment: logits and their softmax, or a layer's gradients and recomputation."""
    workspace: int
    outside: int
    """Not torch's: CUDA context and NCCL."""

    @property
    def allocated(self) -> int:
        """What torch.cuda.max_memory_allocated() shows."""
        return self.total - self.outside

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        """Bytes by the part's name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def data_ranks(config: Config, world_size: int) -> int:
    """Ranks that train on different samples."""
    layout = config.parallel
    return max(1, world_size // (layout.tensor * layout.pipeline * layout.context))


def estimate_memory(config: Config, vocab_size: int, world_size: int, micro_batch: int, recompute: str) -> Memory:
    """Memory of the fullest rank.

    Args:
        vocab_size: the tokenizer's.
        world_size: GPUs in all.
        micro_batch: samples at a time, in place of the configuration's.
        recompute: one of `RECOMPUTE_LEVELS`, in place of the configuration's.
    """
    estimates = memory_by_stage(config, vocab_size, world_size, micro_batch, recompute)
    return max(estimates, key=lambda memory: memory.total)


def memory_by_stage(config: Config, vocab_size: int, world_size: int, micro_batch: int, recompute: str) -> list[Memory]:
    """Memory of a rank of each pipeline stage; the arguments are those of `estimate_memory`.

    The first stage holds the most micro-batches, the last one the logits.
    """
    stages = range(config.parallel.pipeline)
    return [_stage_memory(config, vocab_size, world_size, micro_batch, recompute, stage) for stage in stages]


def _stage_memory(
    config: Config, vocab_size: int, world_size: int, micro_batch: int, recompute: str, stage: int
) -> Memory:
    layout = config.parallel
    vocab_rows = padded_vocab_size(vocab_size, config.model)
    parameters = count_on_rank(config, vocab_rows, stage)
    tokens = micro_batch * config.model.sequence_length_tokens // layout.context
    layers = config.model.num_layers // layout.pipeline
    is_last = stage == layout.pipeline - 1
    flying = _micro_batches_in_flight(config, world_size, micro_batch, stage)
    kept = layers * kept_bytes(config, recompute)
    if is_last:
        # the final norm's input, and its output, which the output layer needs
        kept += 2 * config.model.hidden_size * value_bytes(config) / _sequence_shares(config)
    logits = _logits_bytes(config, vocab_rows) if is_last else 0.0
    return Memory(
        weights=parameters.total * value_bytes(config),
        gradients=parameters.total * GRADIENT_BYTES[config.precision.gradients],
        optimizer=_optimizer_bytes(config, parameters, world_size),
        fp8_weights=0 if config.precision.fp8 == "off" else 2 * parameters.layers_matrices,
        activations=round(kept * tokens * flying),
        loss=round((max(logits, backward_bytes(config, recompute)) + gathered_bytes(config)) * tokens),
        workspace=WORKSPACE_BYTES,
        outside=CONTEXT_BYTES + (NCCL_BYTES if world_size > 1 else 0),
    )


def _optimizer_bytes(config: Config, parameters: Parameters, world_size: int) -> int:
    """Master weights and moments of one rank; the distributed optimizer splits them over data and context ranks."""
    states = config.optimizer.states
    master = MASTER_BYTES if states == "fp32" else ROUNDED_MASTER_BYTES
    masters = 0 if value_bytes(config) == MASTER_BYTES else parameters.total * master
    moments = {
        "adamw": 2 * parameters.total,
        "sgd": parameters.total,
        "muon": parameters.layers_matrices + 2 * (parameters.total - parameters.layers_matrices),
    }[config.optimizer.kind]
    shares = data_ranks(config, world_size) * config.parallel.context if config.parallel.distributed_optimizer else 1
    return (masters + moments * MOMENT_BYTES[states]) // shares


def _logits_bytes(config: Config, vocab_rows: int) -> float:
    """Of one token. Transformer Engine's cross entropy writes the gradient over the logits.

    Megatron's fused cross entropy copies the logits to FP32 and makes the softmax in place from there
    (fused_cross_entropy.py); the gradient is a tensor of its own, which is then rounded. The peak is in the backward
    pass: on an H100 it lies 6 bytes a logit above what the forward pass leaves (benchmarks/plan_memory.py).
    """
    value = value_bytes(config)
    is_megatrons = config.kernels.loss == "megatron" or config.precision.dtype == "fp16"
    return vocab_rows / config.parallel.tensor * (4 + 4 + (value if value < 4 else 0) if is_megatrons else value)


def _micro_batches_in_flight(config: Config, world_size: int, micro_batch: int, stage: int) -> float:
    """Micro-batches whose activations a stage keeps at once, in the 1F1B schedule (Narayanan et al., arXiv:2104.04473).

    Interleaved stages count in pieces, of which each rank has `virtual_stages`: twice as many run ahead for each stage
    that follows, and before the first backward pass all micro-batches of a group, as many as there are stages, go
    through all of a rank's pieces but the last (Megatron-Core, pipeline_parallel/schedules.py,
    get_pp_rank_microbatches).
    """
    layout = config.parallel
    in_step = max(1, config.batch.global_batch_size_samples // (micro_batch * data_ranks(config, world_size)))
    behind = layout.pipeline - 1 - stage
    if layout.virtual_stages == 1:
        return min(behind + 1, in_step)
    pieces = 2 * behind + (layout.virtual_stages - 1) * layout.pipeline + 1
    return min(pieces / layout.virtual_stages, in_step)


def _sequence_shares(config: Config) -> int:
    return config.parallel.tensor if config.parallel.sequence_parallel else 1
