"""Rules for precision, recompute and optimizers that span several fields. `validation` asks for them, without torch.

Which precisions a card has is checked where the card is known: `plan.resolve.check_precision`.
"""

from collections.abc import Iterator
from importlib.util import find_spec

from megatron_recipe.config import Config

FP8_MULTIPLE = 16
"""Transformer Engine and cuBLAS multiply FP8 matrices whose sides are multiples of this (pytorch/utils.py)."""
FP8_BLOCK = 128
"""Side of the blocks of `precision.fp8=blockwise` (pytorch/tensor/float8_blockwise_tensor.py)."""


def precision_and_optimizer_problems(config: Config, on_cpu: bool) -> Iterator[str]:
    """A message for each broken rule."""
    yield from _fp8_problems(config, on_cpu)
    yield from _optimizer_problems(config)
    yield from _states_problems(config, on_cpu)


def _fp8_problems(config: Config, on_cpu: bool) -> Iterator[str]:
    fp8, dtype = config.precision.fp8, config.precision.dtype
    if fp8 == "off":
        return
    if on_cpu:
        yield (
            f"precision.fp8={fp8} needs a GPU of capability 8.9 or more and Transformer Engine, and this machine has "
            "no usable GPU; set precision.fp8=off"
        )
    if dtype != "bf16":
        yield (
            f"precision.dtype={dtype} does not go with precision.fp8={fp8}, which rounds BF16 values; "
            "set precision.dtype=bf16, or precision.fp8=off"
        )
    if config.memory.recompute == "selective":
        yield (
            f"memory.recompute=selective saves nothing with precision.fp8={fp8}, since the layer keeps the "
            "activation's FP8 copy in any case; set memory.recompute=none or full"
        )
    side = FP8_BLOCK if fp8 == "blockwise" else FP8_MULTIPLE
    for name, size in _matrix_sides(config):
        if size % side:
            yield (
                f"{name} = {size} must be a multiple of {side} for precision.fp8={fp8}; "
                f"use {-(-size // side) * side}, or set precision.fp8=off"
            )


def _matrix_sides(config: Config) -> Iterator[tuple[str, int]]:
    """Sides of the matrices that one rank multiplies, with the fields that they come from."""
    model, layout = config.model, config.parallel
    heads, groups, head_dim = model.num_heads, model.num_kv_groups, model.head_dim
    split = f" / parallel.tensor={layout.tensor}" if layout.tensor > 1 else ""
    yield f"model.hidden_size={model.hidden_size}", model.hidden_size
    yield f"model.ffn_hidden_size={model.ffn_hidden_size}{split}", model.ffn_hidden_size // layout.tensor
    yield f"model.num_heads × head_dim = {heads} × {head_dim}{split}", heads * head_dim // layout.tensor
    yield (
        f"(model.num_heads + 2 × num_kv_groups) × head_dim = ({heads} + 2 × {groups}) × {head_dim}{split}",
        (heads + 2 * groups) * head_dim // layout.tensor,
    )
    if config.batch.micro_batch_size_samples == "auto":
        return
    length, micro_batch = model.sequence_length_tokens, config.batch.micro_batch
    yield (
        f"model.sequence_length_tokens × batch.micro_batch_size_samples = {length} × {micro_batch}"
        + (f" / parallel.context={layout.context}" if layout.context > 1 else ""),
        length * micro_batch // layout.context,
    )


def _states_problems(config: Config, on_cpu: bool) -> Iterator[str]:
    states, gradients = config.optimizer.states, config.precision.gradients
    if gradients == "bf16" and states == "fp32":
        yield (
            "precision.gradients=bf16 goes with optimizer.states=bf16 alone, whose kernel reads them; "
            "set optimizer.states=bf16, or precision.gradients=fp32"
        )
    if states == "fp32":
        return
    if on_cpu:
        yield (
            f"optimizer.states={states} needs a GPU and Transformer Engine, and this machine has no usable GPU; "
            "set optimizer.states=fp32"
        )
    if config.optimizer.kind != "adamw" or not config.parallel.distributed_optimizer:
        yield (
            f"optimizer.states={states} is for optimizer.kind=adamw with parallel.distributed_optimizer=true; "
            "set these, or optimizer.states=fp32"
        )
    if config.precision.dtype != "bf16":
        yield (
            f"optimizer.states={states} halves master weights of BF16 weights, and "
            f"precision.dtype={config.precision.dtype}; set precision.dtype=bf16, or optimizer.states=fp32"
        )
    if config.precision.fp8 not in ("off", "delayed"):
        yield (
            f"optimizer.states={states} with precision.fp8={config.precision.fp8}: Megatron keeps whole master weights "
            "there, which cannot be loaded again; set precision.fp8=delayed or off, or optimizer.states=fp32"
        )


def _optimizer_problems(config: Config) -> Iterator[str]:
    kind = config.optimizer.kind
    if kind == "adamw":
        return
    if config.parallel.distributed_optimizer:
        yield (
            f"parallel.distributed_optimizer=true splits the states of AdamW alone, and optimizer.kind={kind}; "
            "set parallel.distributed_optimizer=false"
        )
    if kind == "muon" and config.precision.dtype == "fp16":
        yield (
            "optimizer.kind=muon does not go with precision.dtype=fp16 in Megatron-Core; "
            "set precision.dtype=bf16, or optimizer.kind=adamw"
        )
    if kind == "muon" and find_spec("emerging_optimizers") is None:
        yield (
            "optimizer.kind=muon needs the package emerging-optimizers, which is not installed; "
            "run pip install emerging-optimizers==0.3.0, or set optimizer.kind=adamw"
        )
