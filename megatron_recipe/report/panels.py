"""The small curves of the machine: throughput, GPU readings, waiting, cost. What was not measured has no curve."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from megatron_recipe.report.curve import Curve
from megatron_recipe.report.figures import PANEL, Drawing, Marks, draw
from megatron_recipe.report.series import Series, series

PERCENT = 0.01


@dataclass(frozen=True)
class Panel:
    """One figure: the fields that it draws, the first in the training curve's colour."""

    name: str
    fields: tuple[str, ...]
    from_zero: bool = True
    unit: float = 1.0
    """Tick labels are values divided by it."""
    of_gpus: bool = False
    """Left out of a run on the CPU, where the number says nothing."""


GROUPS = {
    "speed": (
        Panel("mfu", ("mfu_full", "mfu_causal"), unit=PERCENT),
        Panel("tflops", ("tflops_per_gpu", "tflops_per_gpu_causal"), of_gpus=True),
        Panel("forward", ("forward_seconds_slowest", "forward_seconds_median")),
        Panel("data_wait", ("data_wait_seconds",)),
        Panel("loss_scale", ("loss_scale",)),
    ),
    "machine": (
        Panel("memory", ("memory_gb", "memory_reserved_gb")),
        Panel("gpu_use", ("gpu_utilisation_mean", "gpu_utilisation_min")),
        Panel("gpu_power", ("gpu_power_watts",)),
        Panel("gpu_temperature", ("gpu_temperature_max",), from_zero=False),
        Panel("gpu_clock", ("gpu_sm_clock_mhz_min",)),
        Panel("energy", ("joules_per_token",), unit=1e-3),
        Panel("host_memory", ("host_memory_used_gb",)),
        Panel("disk_free", ("disk_free_gb",)),
        Panel("cost", ("cost_so_far",)),
    ),
}


def machine_panels(records: list[dict[str, Any]], marks: Marks) -> dict[str, list[Curve]]:
    """The panels of each group that has something to show, with the marks that may explain a change."""
    marks = Marks(resumes=marks.resumes, rollbacks=marks.rollbacks, taken_again=marks.taken_again)
    on_gpu = bool(len(series(records, "memory_gb").finite))
    groups = {
        name: [_panel(records, panel, marks) for panel in panels if on_gpu or not panel.of_gpus]
        for name, panels in GROUPS.items()
    }
    drawn = {name: [curve for curve in curves if curve is not None] for name, curves in groups.items()}
    return {name: curves for name, curves in drawn.items() if curves}


def _panel(records: list[dict[str, Any]], panel: Panel, marks: Marks) -> Curve | None:
    curves = {field: series(records, field) for field in panel.fields}
    measured = {field: curve for field, curve in curves.items() if len(curve.finite)}
    if not measured:
        return None
    first, *others = measured.values()
    limits = _limits(list(measured.values()), from_zero=panel.from_zero)
    drawing = Drawing(panel.name, first, limits, smoothed=False, unit=panel.unit, others=tuple(others))
    return Curve(
        name=panel.name,
        svg=draw(drawing, marks, PANEL),
        svg_narrow=None,
        exponent=0,
        level=None,
        above=Series(np.array([]), np.array([])),
        not_finite=[],
        measured=True,
        lines=tuple(measured) if len(measured) > 1 else (),
    )


def _limits(curves: list[Series], *, from_zero: bool) -> tuple[float, float]:
    """All of the curves: what a machine did for a moment only is what one looks for."""
    high = max(float(np.max(curve.finite)) for curve in curves)
    low = 0.0 if from_zero else min(float(np.min(curve.finite)) for curve in curves)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low if from_zero else low - margin, high + margin
