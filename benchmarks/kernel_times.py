"""From the kernels of a profiled step to time by class: what `benchmarks.step_profile` prints.

Idle is the step's wall time, measured without the profiler, less the time in which at least one kernel ran. Kernels
that run beside each other count fully in their classes, so that classes and idle can sum to more than the step.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.kernel_classes import CLASSES, kernel_class

TOP, NAME_WIDTH = 6, 110


@dataclass(frozen=True)
class Kernel:
    """One run of a kernel on the GPU."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class StepKernels:
    """Time of a step's kernels, in ns for each token."""

    classes: dict[str, float]
    busy: float
    """Time with at least one kernel."""
    launches: int
    top: dict[str, list[dict[str, Any]]]
    """The costliest kernels of each class: name, ns for each token, launches."""


def profiled_kernels(step: Callable[[], None], device: torch.device) -> list[Kernel]:
    """What ran on the GPU in one step.

    Without a GPU: torch's operators on the CPU, which lie in one another. Good to try the way, not to read.
    """
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiled:
        step()
        if on_gpu:
            torch.cuda.synchronize(device)
    assert profiled.profiler is not None
    kind = torch.autograd.DeviceType.CUDA if on_gpu else torch.autograd.DeviceType.CPU
    return [
        Kernel(event.name(), event.start_ns(), event.end_ns())
        for event in profiled.profiler.kineto_results.events()
        if event.device_type() == kind and not event.is_user_annotation() and not event.is_hidden_event()
    ]


def busy_ns(kernels: Iterable[Kernel]) -> int:
    """Length of the union of the kernels' intervals."""
    busy = until = 0
    for kernel in sorted(kernels, key=lambda one: one.start_ns):
        busy += max(0, kernel.end_ns - max(until, kernel.start_ns))
        until = max(until, kernel.end_ns)
    return busy


def sum_kernels(kernels: list[Kernel], tokens: int) -> StepKernels:
    """Kernels of a step of `tokens` tokens, by class."""
    spent: dict[str, int] = defaultdict(int)
    launches: dict[str, int] = defaultdict(int)
    for kernel in kernels:
        spent[kernel.name] += kernel.end_ns - kernel.start_ns
        launches[kernel.name] += 1
    classes = dict.fromkeys(CLASSES, 0.0)
    top: dict[str, list[dict[str, Any]]] = {kind: [] for kind in CLASSES}
    for name in sorted(spent, key=lambda one: -spent[one]):
        kind = kernel_class(name)
        classes[kind] += spent[name] / tokens
        if len(top[kind]) < TOP:
            top[kind].append({"name": name, "ns": spent[name] / tokens, "launches": launches[name]})
    return StepKernels(classes, busy_ns(kernels) / tokens, len(kernels), top)


def class_table(columns: dict[str, tuple[StepKernels, float]]) -> str:
    """A Markdown table, in ns for each token: a row for each class, a column for each variant.

    columns: kernels of a step and its wall time in ns for each token, by the variant's name.
    """
    rows = [["ns a token", *columns], ["---", *("---:" for _ in columns)]]
    for kind in CLASSES:
        rows.append([kind, *(f"{kernels.classes[kind]:,.0f}" for kernels, _ in columns.values())])
    rows.append(["sum of kernels", *(f"{sum(kernels.classes.values()):,.0f}" for kernels, _ in columns.values())])
    idle = [f"{wall - kernels.busy:,.0f} ({1 - kernels.busy / wall:.1%})" for kernels, wall in columns.values()]
    rows.append(["GPU idle", *idle])
    rows.append(["step", *(f"{wall:,.0f}" for _, wall in columns.values())])
    rows.append(["kernels a step", *(f"{kernels.launches:,}" for kernels, _ in columns.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def top_kernels(kernels: StepKernels) -> str:
    """The costliest kernels of each class, so that one that is counted in a wrong class shows."""
    lines = []
    for kind, costliest in kernels.top.items():
        if costliest:
            lines.append(f"  {kind}")
        for one in costliest:
            lines.append(f"    {one['ns']:9.1f} ns  {one['launches']:>6} ×  {one['name'][:NAME_WIDTH]}")
    return "\n".join(lines)
