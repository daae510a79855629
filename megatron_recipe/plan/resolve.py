"""`auto` into numbers: the micro-batch and the recompute level that fit a card, and what to try when they did not.

The order of preference: no recompute with any micro-batch, then the largest micro-batch. Doubling the micro-batch of
gpt_1b from 4 to 8 gains 2 % on an H100; full recompute costs a quarter of the speed.
"""

from collections.abc import Iterator

from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.kernels import Has, has_package, planned
from megatron_recipe.plan.hardware import BLOCKWISE_FROM, GIB, Hardware
from megatron_recipe.plan.memory import RECOMPUTE_LEVELS, Memory, data_ranks, estimate_memory

# torch's allocator rounds and splits blocks: on an H100 it reserved 1 to 7 % more than it allocated (plan_memory.py).
FRAGMENTATION = 1.08
# 65,536 tokens fill every kernel: more costs memory and gains nothing that was measured.
ENOUGH_TOKENS = 65_536
CPU_MICRO_BATCH = 8


def resolve(
    config: Config,
    vocab_size: int,
    hardware: Hardware | None,
    world_size: int,
    recipe: str | None = None,
    has: Has = has_package,
) -> Config:
    """Replace `auto` in batch.micro_batch_size_samples and memory.recompute; numbers that are set stay.

    Args:
        vocab_size: the tokenizer's.
        hardware: each rank's card; None is a CPU.
        world_size: processes in all.
        recipe: its name where there is one, to name its sister in BF16.
        has: whether fast kernels can be used.

    Raises:
        ConfigError: the card lacks the precision, or nothing fits its memory.
    """
    if hardware is None:
        return _put(config, *_choice_on_cpu(config, world_size))
    check_precision(config, hardware, recipe)
    if config.batch.micro_batch_size_samples != "auto" and config.memory.recompute != "auto":
        return config
    on_card = planned(config, hardware.capability, has)
    for recompute in _levels(config):
        for micro_batch in _micro_batches(config, world_size):
            if fits(estimate_memory(on_card, vocab_size, world_size, micro_batch, recompute), hardware):
                return _put(config, micro_batch, recompute)
    raise ConfigError(_nothing_fits(on_card, vocab_size, hardware, world_size))


def fits(memory: Memory, hardware: Hardware) -> bool:
    """Whether the card holds it, with the allocator's own loss."""
    return memory.allocated * FRAGMENTATION + memory.outside <= hardware.memory_bytes


def possible_micro_batches(config: Config, world_size: int) -> list[int]:
    """Micro-batches that divide every global batch of the run and leave room for validation, the largest first."""
    batch, ranks = config.batch, data_ranks(config, world_size)
    sizes = [batch.global_batch_size_samples]
    if batch.ramp_up_from_samples:
        sizes += [batch.ramp_up_from_samples, batch.ramp_up_increment_samples]
    validation = config.train.validation_samples
    found = []
    for micro_batch in range(batch.global_batch_size_samples // ranks, 0, -1):
        at_once = micro_batch * ranks
        divides = all(size % at_once == 0 for size in sizes) and (not validation or at_once <= validation)
        interleaves = (
            config.parallel.virtual_stages == 1
            or (batch.global_batch_size_samples // at_once) % config.parallel.pipeline == 0
        )
        if divides and interleaves:
            found.append(micro_batch)
    return found


def next_smaller(config: Config, vocab_size: int, world_size: int) -> Config | None:
    """What to try after an out-of-memory: the next smaller micro-batch, then more recompute; None when all was tried.

    Args:
        config: as it ran, resolved. Each answer needs less memory than the one before.
    """
    recompute, micro_batch = config.memory.recompute, config.batch.micro_batch
    smaller = [size for size in possible_micro_batches(config, world_size) if size < micro_batch]
    if smaller:
        return _put(config, smaller[0], recompute)
    now = estimate_memory(config, vocab_size, world_size, micro_batch, recompute).allocated
    for level in RECOMPUTE_LEVELS[RECOMPUTE_LEVELS.index(recompute) + 1 :]:
        if estimate_memory(config, vocab_size, world_size, micro_batch, level).allocated < now:
            return _put(config, micro_batch, level)
    return None


def largest_part(config: Config, vocab_size: int, world_size: int) -> tuple[str, int]:
    """Name and bytes of what takes most of a GPU's memory, for messages. `config` is resolved."""
    memory = estimate_memory(config, vocab_size, world_size, config.batch.micro_batch, config.memory.recompute)
    return max(memory.parts().items(), key=lambda part: part[1])


def check_precision(config: Config, hardware: Hardware, recipe: str | None = None) -> None:
    """Refuse what the card cannot multiply.

    Raises:
        ConfigError: FP8 or BF16 on a card without it.
    """
    fp8, capability = config.precision.fp8, ".".join(map(str, hardware.capability))
    if fp8 != "off" and not hardware.has_fp8:
        sister = f"use the recipe {recipe.removesuffix('_fp8')}" if recipe and recipe.endswith("_fp8") else "use BF16"
        raise ConfigError(
            f"precision.fp8={fp8} needs a card of capability 8.9 or more (RTX 4090, L40S, H100), and {hardware.card} "
            f"has {capability}; {sister}, or set precision.fp8=off"
        )
    if fp8 == "blockwise" and hardware.capability < BLOCKWISE_FROM:
        raise ConfigError(
            f"precision.fp8=blockwise needs capability 9.0 or more (H100), and {hardware.card} has {capability}; "
            "set precision.fp8=delayed"
        )
    if config.precision.dtype == "bf16" and not hardware.has_bf16:
        raise ConfigError(
            f"precision.dtype=bf16 needs a card of capability 8.0 or more (A100), and {hardware.card} has "
            f"{capability}; set precision.dtype=fp16"
        )


def _levels(config: Config) -> tuple[str, ...]:
    return RECOMPUTE_LEVELS if config.memory.recompute == "auto" else (config.memory.recompute,)


def _micro_batches(config: Config, world_size: int) -> list[int]:
    """Those to choose from: the one that is set, or all that divide the batch, without needlessly large ones."""
    if config.batch.micro_batch_size_samples != "auto":
        return [config.batch.micro_batch]
    sizes = possible_micro_batches(config, world_size)
    if not sizes:
        raise ConfigError(
            f"batch.global_batch_size_samples={config.batch.global_batch_size_samples} must be a multiple of the "
            f"data-parallel ranks, {data_ranks(config, world_size)}, and so must the batches of a ramp-up, and "
            f"train.validation_samples={config.train.validation_samples} at least as many; change these numbers, or "
            "start another number of processes"
        )
    length = config.model.sequence_length_tokens // config.parallel.context
    return [size for size in sizes if size * length <= ENOUGH_TOKENS] or sizes[-1:]


def _choice_on_cpu(config: Config, world_size: int) -> tuple[int, str]:
    recompute = "none" if config.memory.recompute == "auto" else config.memory.recompute
    sizes = _micro_batches(config, world_size)
    small = [size for size in sizes if size <= CPU_MICRO_BATCH]
    return (small or sizes[-1:])[0], recompute


def _put(config: Config, micro_batch: int, recompute: str) -> Config:
    return config.model_copy(
        update={
            "batch": config.batch.model_copy(update={"micro_batch_size_samples": micro_batch}),
            "memory": config.memory.model_copy(update={"recompute": recompute}),
        }
    )


def _nothing_fits(config: Config, vocab_size: int, hardware: Hardware, world_size: int) -> str:
    """Field, value, rule and the remedies that this very model of memory says would do."""
    micro_batch, recompute = _micro_batches(config, world_size)[-1], _levels(config)[-1]
    memory = estimate_memory(config, vocab_size, world_size, micro_batch, recompute)
    part, size = max(memory.parts().items(), key=lambda one: one[1])
    remedies = list(_remedies(config, vocab_size, hardware, world_size))
    return (
        f"batch.micro_batch_size_samples={micro_batch} with memory.recompute={recompute} needs "
        f"{memory.total / GIB:.1f} GiB on {'the GPU' if world_size == 1 else f'each of {world_size} GPUs'}, "
        f"{size / GIB:.1f} of it for {part.replace('_', ' ')}, and {hardware.card} has "
        f"{hardware.memory_bytes / GIB:.1f}; " + "; or ".join([*remedies, "use a smaller model"])
    )


def _remedies(config: Config, vocab_size: int, hardware: Hardware, world_size: int) -> Iterator[str]:
    if config.batch.micro_batch_size_samples != "auto":
        yield "set batch.micro_batch_size_samples=auto"
    if config.memory.recompute not in ("auto", "full"):
        yield "set memory.recompute=auto"
    if config.parallel.distributed_optimizer:
        for gpus in (2, 4, 8, 16, 32):
            if gpus > world_size and _would_fit(config, vocab_size, hardware, gpus):
                yield f"train on {gpus} GPUs, which share the optimizer's states"
                break
    rounded = _with_rounded_states(config)
    if rounded and _would_fit(rounded, vocab_size, hardware, world_size):
        yield "set optimizer.states=bf16 and precision.gradients=bf16, 10 bytes a parameter instead of 18"
    for tensor in (2, 4, 8):
        if tensor <= config.parallel.tensor or config.model.num_kv_groups % tensor:
            continue
        gpus = max(world_size, tensor)
        split = config.parallel.model_copy(update={"tensor": tensor, "sequence_parallel": True})
        if _would_fit(config.model_copy(update={"parallel": split}), vocab_size, hardware, gpus):
            on = f" on {gpus} GPUs" if gpus > world_size else ""
            yield f"set parallel.tensor={tensor} and parallel.sequence_parallel=true{on}"
            break


def _with_rounded_states(config: Config) -> Config | None:
    """The same run with its optimizer's states and its gradients in BF16; None where they cannot be or are already."""
    optimizer, precision = config.optimizer, config.precision
    if optimizer.kind != "adamw" or precision.dtype != "bf16" or precision.gradients == "bf16":
        return None
    return config.model_copy(
        update={
            "optimizer": optimizer.model_copy(update={"states": "bf16"}),
            "precision": precision.model_copy(update={"gradients": "bf16"}),
        }
    )


def _would_fit(config: Config, vocab_size: int, hardware: Hardware, world_size: int) -> bool:
    return fits(estimate_memory(config, vocab_size, world_size, 1, RECOMPUTE_LEVELS[-1]), hardware)
