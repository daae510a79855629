"""What is in a checkpoint: step, tokens, and every tensor with its shape, type and size; reads no weights.

Run: megatron-recipe convert inspect RUN_OR_CHECKPOINT
"""

from collections import defaultdict
from pathlib import Path

from checkpoints_tools.megatron_checkpoint import (
    MODEL_KEY,
    TensorInfo,
    checkpoint_facts,
    find_checkpoint,
    read_index,
)


def describe_checkpoint(source: Path) -> list[str]:
    """Lines about a checkpoint, or the newest complete one of a run. Raises CheckpointError where there is none."""
    checkpoint = find_checkpoint(source)
    facts = checkpoint_facts(checkpoint)
    index = read_index(checkpoint)
    model = {name: info for name, info in index.items() if MODEL_KEY.match(name)}
    rest = {name: info for name, info in index.items() if name not in model}
    on_disk = sum(file.stat().st_size for file in checkpoint.iterdir())
    lines = [
        str(checkpoint),
        *(f"  {name}: {value}" for name, value in facts.items()),
        f"  on disk: {on_disk / 1e6:,.1f} MB",
        f"  model: {summary(model)}",
        f"  optimizer and other: {summary(rest)}",
        "  weights as stored (layers stacked in the first dimension where they are alike):",
    ]
    width = max((len(name) for name in model), default=0)
    for name, info in model.items():
        shape = " × ".join(map(str, info.shape))
        lines.append(f"    {name:{width}}  {type_name(info):9}{shape:>22}{info.size_bytes / 1e6:12,.2f} MB")
    return lines


def summary(tensors: dict[str, TensorInfo]) -> str:
    """Number of tensors, values and bytes, by type."""
    by_type: dict[str, int] = defaultdict(int)
    for info in tensors.values():
        by_type[type_name(info)] += info.size_bytes // info.dtype.itemsize
    values = ", ".join(f"{count:,} values in {name}" for name, count in by_type.items()) or "none"
    return f"{len(tensors)} tensors, {values}, {sum(info.size_bytes for info in tensors.values()) / 1e6:,.1f} MB"


def type_name(info: TensorInfo) -> str:
    """`float32` and not `torch.float32`."""
    return str(info.dtype).removeprefix("torch.")
