"""The training section: which curves are drawn, in which frame, and what must be said beside them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from megatron_recipe.report.figures import NARROW, PANEL, WIDE, Drawing, Marks, draw
from megatron_recipe.report.run_files import Run
from megatron_recipe.report.series import Series, above, not_finite_steps, series, smoothing_window, visible_range
from megatron_recipe.report.summary import Summary


@dataclass(frozen=True)
class Curve:
    """One figure of the page; `svg_narrow` is its drawing for phones where the wide one would be too small."""

    name: str
    svg: str
    svg_narrow: str | None
    exponent: int
    """Tick labels are in units of ten to this power."""
    level: float | None
    above: Series
    not_finite: list[int]
    measured: bool


@dataclass(frozen=True)
class Training:
    """Figures of the run, and what they have in common."""

    loss: Curve
    panels: list[Curve]
    marks: Marks
    window: int
    validation_not_finite: list[int]


def training_section(run: Run, summary: Summary) -> Training | None:
    """Draw the run's curves; None where it has no metrics yet."""
    if not run.train and not run.validation:
        return None
    marks = event_marks(run.events)
    return Training(
        loss=_loss(run, summary, marks),
        panels=[
            _panel(run, "learning_rate", marks),
            _panel(run, "grad_norm", marks, level=_clip_norm(run.config)),
            _panel(run, "tokens_per_second", marks),
        ],
        marks=marks,
        window=smoothing_window(len(run.train)),
        validation_not_finite=not_finite_steps(run.validation, "loss"),
    )


def event_marks(events: list[dict[str, Any]]) -> Marks:
    """The steps of checkpoints, resumes and rollbacks."""

    def steps(name: str) -> list[int]:
        return [event["step"] for event in events if event["event"] == name and event.get("step") is not None]

    return Marks(checkpoints=steps("checkpoint_saved"), resumes=steps("resume"), rollbacks=steps("rollback"))


def _loss(run: Run, summary: Summary, marks: Marks) -> Curve:
    raw, validation = series(run.train, "loss"), series(run.validation, "loss")
    baseline = summary.held_out.unigram if summary.held_out else None
    compared = np.append(_after_start(validation, raw), np.nan if baseline is None else baseline)
    limits = visible_range(raw, compared)
    drawing = Drawing("loss", raw, limits, points=validation if run.validation else None, level=baseline)
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


def _after_start(validation: Series, raw: Series) -> np.ndarray:
    """Held-out losses that the frame must show: those after the steep beginning, or the only ones there are."""
    if not len(raw.steps):
        return validation.values
    return validation.values[validation.steps > 0.05 * raw.steps[-1]]


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
