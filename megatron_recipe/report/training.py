"""The training section: which curves are drawn, in which frame, and what must be said beside them."""

import math
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from megatron_recipe.references.standing import Standing
from megatron_recipe.report.benchmarks import Benchmarks, benchmark_section
from megatron_recipe.report.curve import Curve
from megatron_recipe.report.figures import BROAD, NARROW, PANEL, WIDE, Drawing, Marks, draw
from megatron_recipe.report.panels import machine_panels
from megatron_recipe.report.run_files import Run
from megatron_recipe.report.series import Series, above, not_finite_steps, series, smoothing_window, visible_range
from megatron_recipe.report.summary import Summary

# An attempt that was given up may raise the loss's frame by this share of its height; more of it leaves the frame.
GIVEN_UP_ROOM = 0.25


@dataclass(frozen=True)
class Training:
    """Figures of the run, and what they have in common."""

    loss: Curve
    panels: list[Curve]
    groups: dict[str, list[Curve]]
    """More panels by what they are about; what was not measured is left out."""
    held_out_sets: Curve | None
    benchmarks: Benchmarks | None
    marks: Marks
    window: int
    validation_not_finite: list[int]
    standing: Standing | None
    """Where the run stands in the band of a reference; None where none was asked for."""


def training_section(run: Run, summary: Summary, standing: Standing | None = None) -> Training | None:
    """Draw the run's curves, with the band of the reference that `standing` is about; None without metrics.

    Raises:
        ConfigError: the run is of another kind than the reference's.
    """
    if standing:
        standing.check(run.folder, run.config, run.environment)
        for record in run.train:
            standing.add(record["step"], record["loss"])
    if not run.train and not run.validation:
        return None
    marks = event_marks(run.events)
    return Training(
        loss=_loss(run, summary, marks, standing),
        panels=[
            _panel(run, "learning_rate", marks),
            _panel(run, "grad_norm", marks, level=_clip_norm(run.config)),
            _panel(run, "tokens_per_second", marks),
        ],
        groups=machine_panels(run.train, marks),
        held_out_sets=_held_out_sets(run),
        benchmarks=benchmark_section(run),
        marks=marks,
        window=smoothing_window(len(run.train)),
        validation_not_finite=not_finite_steps(run.validation, "loss"),
        standing=standing,
    )


def event_marks(events: list[dict[str, Any]]) -> Marks:
    """The steps of checkpoints, resumes, spikes, updates that were left out, and rollbacks."""

    def steps(name: str) -> list[float]:
        return [event["step"] for event in events if event["event"] == name and is_number(event.get("step"))]

    back = [
        (event.get("to_step"), event.get("from_step", event.get("step")))
        for event in events
        if event["event"] == "rollback"
    ]
    return Marks(
        checkpoints=steps("checkpoint_saved"),
        resumes=steps("resume"),
        rollbacks=[begun for _, begun in back if is_number(begun)],
        spikes=steps("spike"),
        skipped_updates=steps("update_skipped"),
        taken_again=[(to, begun) for to, begun in back if is_number(to) and is_number(begun)],
    )


def is_number(value: Any) -> TypeGuard[float]:
    """Whether an event's fact is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _loss(run: Run, summary: Summary, marks: Marks, standing: Standing | None) -> Curve:
    raw, validation = series(run.train, "loss"), series(run.validation, "loss")
    baseline = summary.held_out.unigram if summary.held_out else None
    compared = np.append(_after_start(validation, raw), np.nan if baseline is None else baseline)
    band = _band(standing, raw) if standing else None
    if band:
        compared = np.concatenate([compared, *(_after_start(edge, raw) for edge in band)])
    limits = visible_range(raw, compared)
    attempts = tuple(series(records, "loss") for records in run.given_up)
    highest = max((float(np.max(attempt.finite, initial=-np.inf)) for attempt in attempts), default=-np.inf)
    room = limits[1] + GIVEN_UP_ROOM * (limits[1] - limits[0])
    limits = limits[0], max(limits[1], min(1.02 * highest, room))
    points = validation if run.validation else None
    drawing = Drawing("loss", raw, limits, points=points, level=baseline, given_up=attempts, band=band)
    return Curve(
        name="loss",
        svg=draw(drawing, marks, WIDE),
        svg_narrow=draw(drawing, marks, NARROW),
        exponent=0,
        level=baseline,
        above=above(raw, limits[1]),
        not_finite=not_finite_steps(run.train, "loss"),
        measured=True,
    )


def _band(standing: Standing, raw: Series) -> tuple[Series, Series] | None:
    """The edges of a reference's band at the run's own records; None where they have no step in common."""
    found = [(step, edges) for step in raw.steps if (edges := standing.reference.band_at(step))]
    if not found:
        return None
    steps = np.array([step for step, _ in found])
    low, high = (np.array([edges[side] for _, edges in found]) for side in (0, 1))
    return Series(steps, low), Series(steps, high)


def _after_start(validation: Series, raw: Series) -> np.ndarray:
    """Held-out losses that the frame must show: those after the steep beginning, or the only ones there are."""
    if not len(raw.steps):
        return validation.values
    return validation.values[validation.steps > 0.05 * raw.steps[-1]]


def _held_out_sets(run: Run) -> Curve | None:
    """Losses of all held-out sets, where there are others than that of the mix."""
    if not run.validation_sets:
        return None
    curves = [series(run.validation, "loss"), *(series(records, "loss") for records in run.validation_sets.values())]
    settled = [_after_start(curve, curves[-1]) for curve in curves]
    limits = visible_range(Series(np.array([]), np.array([])), np.concatenate(settled))
    nothing = Series(np.array([]), np.array([]))
    drawing = Drawing("sets", nothing, limits, smoothed=False, points=curves[0], others=tuple(curves[1:]))
    return Curve(
        name="sets",
        svg=draw(drawing, Marks(), BROAD),
        svg_narrow=draw(drawing, Marks(), NARROW),
        exponent=0,
        level=None,
        above=nothing,
        not_finite=[],
        measured=True,
        lines=tuple(run.validation_sets),
    )


def _panel(run: Run, field: str, marks: Marks, level: float | None = None) -> Curve:
    raw = series(run.train, field)
    limits = visible_range(raw, np.array([]), from_zero=True)
    highest = max(np.max(raw.finite, initial=0.0), 0.0)
    exponent = math.floor(math.log10(highest)) if 0 < highest < 0.1 else 0
    shown_level = level if level is not None and level <= limits[1] else None
    smoothed = field == "grad_norm"
    drawing = Drawing(field, raw, limits, smoothed=smoothed, level=shown_level, unit=10.0**exponent)
    return Curve(
        name=field,
        svg=draw(drawing, marks, PANEL),
        svg_narrow=None,
        exponent=exponent,
        level=shown_level,
        above=above(raw, limits[1]),
        not_finite=not_finite_steps(run.train, field),
        measured=bool(len(raw.finite)),
    )


def _clip_norm(config: dict[str, Any]) -> float | None:
    """The norm to which gradients are clipped; None where they are not."""
    return (config.get("optimizer") or {}).get("clip_grad_norm") or None
