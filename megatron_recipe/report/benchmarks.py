"""Benchmark scores that were taken while the run trained: a curve of each over the steps of the loss, and a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.score_table import verdict
from megatron_recipe.report.curve import Curve
from megatron_recipe.report.figures import PANEL, Drawing, Marks, draw
from megatron_recipe.report.run_files import Run
from megatron_recipe.report.series import Series, series

PERCENT = 0.01
NOTHING = Series(np.array([]), np.array([]))


@dataclass(frozen=True)
class BenchmarkRow:
    """A benchmark at its last evaluation; scores are shares of one."""

    name: str
    metric: str
    step: int
    score: float
    error: float | None
    """Standard error."""
    best: float
    chance: float
    questions: int
    verdict: str | None
    """above, below or not_above chance; None without an error."""


@dataclass(frozen=True)
class Benchmarks:
    """What the page shows of them."""

    curves: list[Curve]
    rows: list[BenchmarkRow]


def benchmark_section(run: Run) -> Benchmarks | None:
    """The curves and the table; None where no benchmark was evaluated."""
    if not run.benchmarks:
        return None
    of_loss = [record["step"] for record in [*run.train, *run.validation]]
    steps = (min(of_loss), max(of_loss)) if of_loss else None
    return Benchmarks(
        curves=[_curve(name, records, steps) for name, records in run.benchmarks.items()],
        rows=last_scores(run),
    )


def last_scores(run: Run) -> list[BenchmarkRow]:
    """Each benchmark at its last evaluation while the run trained."""
    return [_row(name, records) for name, records in run.benchmarks.items()]


def _row(name: str, records: list[dict[str, Any]]) -> BenchmarkRow:
    last, metric = records[-1], records[-1]["metric"]
    score, error, chance = last[metric], last.get(f"{metric}_stderr"), last["chance"]
    return BenchmarkRow(
        name=name,
        metric=metric,
        step=last["step"],
        score=score,
        error=error,
        best=max(record[metric] for record in records),
        chance=chance,
        questions=last["questions"],
        verdict=verdict({**last, "score": score, "stderr": error}) if error is not None else None,
    )


def _curve(name: str, records: list[dict[str, Any]], steps: tuple[int, int] | None) -> Curve:
    """Points with their standard errors, and chance as a level. steps: the first and the last of the loss's figure."""
    metric = records[-1]["metric"]
    scores, errors, chance = series(records, metric), series(records, f"{metric}_stderr"), records[-1]["chance"]
    spread = np.nan_to_num(errors.values)
    low = float(min(np.min(scores.values - spread), chance))
    high = float(max(np.max(scores.values + spread), chance))
    margin = 0.08 * (high - low) or 0.01
    drawing = Drawing(
        f"benchmark-{name}",
        NOTHING,
        (low - margin, high + margin),
        smoothed=False,
        points=scores,
        errors=errors,
        level=chance,
        unit=PERCENT,
        steps=steps,
    )
    return Curve(
        name=name,
        svg=draw(drawing, Marks(), PANEL),
        svg_narrow=None,
        exponent=0,
        level=chance,
        above=NOTHING,
        not_finite=[],
        measured=True,
    )
