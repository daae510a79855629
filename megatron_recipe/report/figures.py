"""Curves as inline SVG: drawn by matplotlib, coloured and lettered by the page that holds them.

Text stays text (`svg.fonttype: none`), so the browser sets it in the page's own font, Chinese included. Colours are
CSS variables of the page, so one drawing serves light and dark. One unit of a drawing is one CSS pixel at full size.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETDOWNBASE, CARETUPBASE
from matplotlib.ticker import Formatter, MaxNLocator

from megatron_recipe.report.series import Series, downsample, smooth

# What matplotlib draws in → what the page paints. The left sides are only names, told apart after drawing.
INK, MUTED, RULE, TRAIN, HELD_OUT, BASELINE, ALERT, *OTHERS = (f"#0000{n:02x}" for n in range(1, 12))
CSS_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    TRAIN: "var(--train)",
    HELD_OUT: "var(--held-out)",
    BASELINE: "var(--baseline)",
    ALERT: "var(--alert)",
    **{colour: f"var(--other-{number})" for number, colour in enumerate(OTHERS, start=1)},
}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "megatron-recipe",  # the same run gives the same file
    "text.parse_math": False,
    "font.size": 12,
    "text.color": MUTED,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
}
RAW_OPACITY = 0.3
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 10, 26  # pixels around the axes, which hold the tick labels


@dataclass(frozen=True)
class Marks:
    """Steps at which something happened to the run."""

    checkpoints: list[float] = field(default_factory=list)
    resumes: list[float] = field(default_factory=list)
    rollbacks: list[float] = field(default_factory=list)
    spikes: list[float] = field(default_factory=list)
    skipped_updates: list[float] = field(default_factory=list)
    taken_again: list[tuple[float, float]] = field(default_factory=list)
    """The steps from and to which rollbacks went back."""


@dataclass(frozen=True)
class Size:
    """Width and height in CSS pixels, and how many points a curve may have at that width."""

    width: int
    height: int
    max_points: int


WIDE = Size(860, 340, 2400)
NARROW = Size(380, 300, 900)
BROAD = Size(860, 220, 1200)
PANEL = Size(276, 170, 700)


@dataclass(frozen=True)
class Drawing:
    """What one figure shows: a curve, its smoothed version, and what it is compared with."""

    name: str
    raw: Series
    limits: tuple[float, float]
    smoothed: bool = True
    points: Series | None = None
    errors: Series | None = None
    """Of the points, at the same steps: half the length of the bar on each."""
    level: float | None = None
    unit: float = 1.0  # tick labels are divided by it
    others: tuple[Series, ...] = ()
    """More curves, each in a colour of its own (the first four are told apart)."""
    given_up: tuple[Series, ...] = ()
    """Attempts that a rollback took back, drawn faintly."""
    band: tuple[Series, Series] | None = None
    """Lower and upper edge, at the same steps, of what a curve of this kind usually does."""
    steps: tuple[float, float] | None = None
    """First and last step of another figure, whose axis this one shares; None spans the curves."""


def draw(drawing: Drawing, marks: Marks, size: Size) -> str:
    """The SVG element of `drawing`; its ids begin with the drawing's name and width, so a page can hold many."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(size.width / 72, size.height / 72))
        inner = (size.width - LEFT - RIGHT) / size.width, (size.height - TOP - BOTTOM) / size.height
        axes = figure.add_axes((LEFT / size.width, BOTTOM / size.height, *inner))
        _frame(axes, drawing, size)
        _mark_events(axes, marks)
        _curves(axes, drawing, size)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return inline(buffer.getvalue(), f"{drawing.name}{size.width}")


def _frame(axes: Axes, drawing: Drawing, size: Size) -> None:
    first, last = _span(drawing)
    axes.set_xlim(first, last)
    axes.set_ylim(*drawing.limits)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(3, size.width // 100), steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=max(4, size.height // 50), steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(TickLabels(1.0))
    axes.yaxis.set_major_formatter(TickLabels(drawing.unit))


def _span(drawing: Drawing) -> tuple[float, float]:
    curves = [drawing.raw, *drawing.others, *([drawing.points] if drawing.points else [])]
    steps = np.concatenate([curve.steps for curve in curves] + ([np.array(drawing.steps)] if drawing.steps else []))
    first, last = (float(steps.min()), float(steps.max())) if len(steps) else (0.0, 1.0)
    first = 0.0 if first <= 0.02 * last else first
    return first, last + 0.01 * (last - first or 1.0)  # room for the last point


class TickLabels(Formatter):
    """Ticks in `unit`s with thousands separators, all of an axis with as many decimals as the finest one needs."""

    def __init__(self, unit: float) -> None:
        self.unit = unit

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        ticks = [round(float(value) / self.unit, 9) for value in values]
        decimals = max((len(f"{tick:.9f}".rstrip("0").partition(".")[2]) for tick in ticks), default=0)
        return [f"{tick:,.{decimals}f}".replace("-", "−") for tick in ticks]


def _mark_events(axes: Axes, marks: Marks) -> None:
    bottom = axes.get_xaxis_transform()
    axes.plot(
        marks.checkpoints,
        [0.0] * len(marks.checkpoints),
        transform=bottom,
        marker=CARETUPBASE,  # a triangle standing on the axis
        markersize=6,
        clip_on=False,
        markeredgewidth=0,
        color=MUTED,
        linestyle="none",
        scalex=False,
        scaley=False,
        gid="checkpoints",
    )
    for begin, stop in marks.taken_again:
        axes.axvspan(begin, stop, color=ALERT, alpha=0.08, linewidth=0)
    top: dict[str, Any] = {"transform": bottom, "clip_on": False, "linestyle": "none", "scalex": False, "scaley": False}
    for steps, shape, colour, name in (
        (marks.spikes, CARETDOWNBASE, ALERT, "spikes"),
        (marks.skipped_updates, "x", ALERT, "skipped"),
    ):
        height = 1.0 if name == "spikes" else 0.94  # a step may have both
        axes.plot(steps, [height] * len(steps), marker=shape, markersize=6, color=colour, gid=name, **top)
    for steps, colour, dashes, name in (
        (marks.resumes, MUTED, (0, (4, 3)), "resume"),
        (marks.rollbacks, ALERT, "solid", "rollback"),
    ):
        for number, step in enumerate(steps):
            axes.axvline(step, color=colour, linestyle=dashes, linewidth=1, gid=f"{name}{number}")


def _curves(axes: Axes, drawing: Drawing, size: Size) -> None:
    if drawing.band is not None:
        low, high = drawing.band
        axes.fill_between(low.steps, low.values, high.values, color=OTHERS[0], alpha=0.22, linewidth=0, gid="band")
    for number, attempt in enumerate(drawing.given_up):
        shown = downsample(attempt, size.max_points // 4)
        axes.plot(shown.steps, shown.values, color=ALERT, alpha=0.5, linewidth=1.2, zorder=3, gid=f"given-up{number}")
    for number, other in enumerate(drawing.others):
        shown = downsample(other, size.max_points // 2)
        colour = OTHERS[number % len(OTHERS)]
        axes.plot(shown.steps, shown.values, color=colour, linewidth=1.2, gid=f"other{number}")
    raw = downsample(drawing.raw, size.max_points)
    lone = _lone_points(raw)
    axes.plot(raw.steps[lone], raw.values[lone], "o", markersize=2.5, color=TRAIN, markeredgewidth=0)
    faint = RAW_OPACITY if drawing.smoothed else 1.0
    axes.plot(raw.steps, raw.values, color=TRAIN, alpha=faint, linewidth=1.0, gid="raw")
    if drawing.level is not None:
        axes.axhline(drawing.level, color=BASELINE, linewidth=1.4, linestyle=(0, (6, 3)), gid="level")
    if drawing.smoothed:
        line = downsample(smooth(drawing.raw), size.max_points // 2)
        axes.plot(line.steps, line.values, color=TRAIN, linewidth=1.8, gid="smoothed")
    if drawing.points is not None and drawing.errors is not None:
        ends = (drawing.points.values - drawing.errors.values, drawing.points.values + drawing.errors.values)
        axes.vlines(drawing.points.steps, *ends, color=HELD_OUT, linewidth=1.2, alpha=0.5, gid="errors")
    if drawing.points is not None:
        points = downsample(drawing.points, size.max_points // 4)
        shape: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markeredgewidth": 0}
        axes.plot(points.steps, points.values, color=HELD_OUT, linewidth=1.2, gid="points", **shape)


def _lone_points(curve: Series) -> np.ndarray:
    """Mask of finite points between two gaps, which a line would not show."""
    there = np.concatenate([[False], np.isfinite(curve.values), [False]])
    return there[1:-1] & ~there[:-2] & ~there[2:]


def inline(svg: str, prefix: str) -> str:
    """The svg element alone: sized and lettered by the page, with ids of its own and short coordinates."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, count=1, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\1{prefix}-", svg)
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r' d="[^"]*"', _short_path, svg)
    for drawn, painted in CSS_COLOURS.items():
        svg = svg.replace(drawn, painted)
    return svg.strip()


def _short_path(path: re.Match[str]) -> str:
    def rounded(number: re.Match[str]) -> str:
        return f"{float(number.group()):.2f}".rstrip("0").rstrip(".")

    return re.sub(r"\d+\.\d{3,}", rounded, path.group()).replace("\n", "")
