"""The curves of an incident: control, incident and remedy over one another, as SVG for the page and as PNG files."""

import io
import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from megatron_recipe.diagnose.reading import Record, read_facts
from megatron_recipe.files import atomic_file
from megatron_recipe.lab.incident_plan import ROLES, Role
from megatron_recipe.report.comparison_figures import DRAWN, colour_of
from megatron_recipe.report.figures import (
    ALERT,
    BOTTOM,
    LEFT,
    NARROW,
    RIGHT,
    RULE,
    STYLE,
    TOP,
    WIDE,
    Size,
    TickLabels,
    inline,
)
from megatron_recipe.report.series import Series, downsample

PLOTS = {
    "loss": ("loss_mean", "loss"),
    "grad_norm": ("grad_norm_max", "grad_norm"),
    "update_ratio": ("update_ratio",),
    "zero_grad_share": ("zero_grad_share",),
    "loss_scale": ("loss_scale",),
    "activation": ("activation_rms_last",),
    "attention": ("attention_logit_max",),
    "logit": ("logit_max",),
    "wait": ("data_wait_share",),
    "speed": ("tokens_per_second",),
}
"""What is drawn, and the fields of a training record that it is read from, the first that is there."""
OF_THE_MACHINE = ("wait", "speed")
"""Drawn only where the criterion is about the machine: they differ from run to run by what else it does."""
MACHINE_CHECKS = {"data_wait", "low_mfu"}
DECADES = 20.0
"""Highest over lowest value from which an axis is logarithmic."""
DASHES: dict[Role, tuple[float, ...]] = {"control": (), "incident": (), "remedy": (6.0, 2.5)}
WIDTHS: dict[Role, float] = {"control": 3.4, "incident": 1.9, "remedy": 1.5}
"""Each lies on the one before it, which is seen below it where they agree."""
PICTURE_COLOURS: dict[Role, str] = {"control": "#0072b2", "incident": "#d55e00", "remedy": "#009e73"}
PICTURE = Size(900, 420, 1200)
FOLDER = "pictures"


@dataclass(frozen=True)
class Drawn:
    """A plot as SVG elements: one drawing serves all languages, since the words are the page's."""

    plot: "Plot"
    wide: str
    narrow: str


@dataclass(frozen=True)
class Plot:
    """One figure: a curve of each run that recorded it."""

    name: str
    curves: dict[Role, Series]
    ends: dict[Role, tuple[float, float]]
    """Place of the last finite value of a curve that goes on without one."""
    lost: tuple[Role, ...] = ()
    """Runs that recorded the field, and never a finite value of it."""


def read_plots(folders: dict[Role, Path], asked: Set[str]) -> list[Plot]:
    """Everything that can be drawn of the runs, what the criterion rests on first. Steps of the series are tokens.

    asked: names of the criterion's checks, and of the fields that it rests on.
    """
    facts = {role: read_facts(folder) for role, folder in folders.items() if (folder / "config.yaml").is_file()}
    plots = []
    for name, fields in PLOTS.items():
        if name in OF_THE_MACHINE and not asked & {*fields, *MACHINE_CHECKS}:
            continue
        read = {role: series(found.train, fields) for role, found in facts.items()}
        curves = {role: curve for role, curve in read.items() if len(curve.finite)}
        if not curves or all(not np.any(curve.finite) for curve in curves.values()):
            continue
        ends = {}
        for role, curve in curves.items():
            failed = any(event["event"] == "failed" for event in facts[role].events[-1:])
            where = int(np.flatnonzero(np.isfinite(curve.values))[-1])
            if failed or where < len(curve.values) - 1:
                ends[role] = (float(curve.steps[where]), float(curve.values[where]))
        lost = tuple(role for role, curve in read.items() if len(curve.values) and role not in curves)
        plots.append(Plot(name, curves, ends, lost))
    return sorted(plots, key=lambda plot: not asked & set(PLOTS[plot.name]))


def series(records: Sequence[Record], fields: Sequence[str]) -> Series:
    """Values over tokens; records without any of the fields are left out, and what is not finite is a gap.

    A loss begins with that of the first step, which stands in the first record.
    """
    tokens, values = [], []
    for record in records:
        if "loss" in fields and math.isfinite(record.get("initial_loss") or math.nan):
            tokens.append(record["tokens"] / record["step"])
            values.append(float(record["initial_loss"]))
        value = next((record[name] for name in fields if record.get(name) is not None), None)
        if isinstance(value, int | float) and "tokens" in record:
            tokens.append(float(record["tokens"]))
            values.append(float(value) if math.isfinite(value) else math.nan)
    return Series(np.array(tokens), np.array(values))


def is_logarithmic(plot: Plot) -> bool:
    """Whether the curves span so many decades that a linear axis would show one of them alone."""
    values = np.concatenate([curve.finite for curve in plot.curves.values()])
    return bool(plot.name != "loss" and values.min() > 0 and values.max() / values.min() > DECADES)


def draw(plots: Sequence[Plot]) -> list[Drawn]:
    """Draw the plots of a page."""
    return [Drawn(plot, *(draw_svg(plot, "incident", size) for size in (WIDE, NARROW))) for plot in plots]


def draw_svg(plot: Plot, prefix: str, size: Size) -> str:
    """The SVG element of a plot, in the page's colours; its ids begin with `prefix`."""
    colours = {role: DRAWN[number] for number, role in enumerate(ROLES)}
    with matplotlib.rc_context(STYLE):
        figure = _figure(plot, size, colours)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = inline(buffer.getvalue(), f"{prefix}-{plot.name}{size.width}")
    for number, role in enumerate(ROLES):
        svg = svg.replace(colours[role], colour_of(number))
    return svg


def dashes_of(role: Role) -> str:
    """As SVG writes them."""
    return " ".join(f"{length:g}" for length in DASHES[role])


def write_pictures(plots: Sequence[Plot], folder: Path) -> list[Path]:
    """Write each plot as a PNG file below `folder`; returns their paths."""
    written = []
    for plot in plots:
        figure = _figure(plot, PICTURE, PICTURE_COLOURS)
        axes = figure.axes[0]
        axes.set_title(f"{PLOTS[plot.name][0]} over tokens", loc="left", fontsize=12)
        axes.legend(frameon=False, loc="best")
        axes.set_position((0.07, 0.08, 0.9, 0.82))  # room for the title
        path = folder / f"{plot.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, "wb") as file:
            figure.savefig(file, format="png", dpi=110, facecolor="white")
        written.append(path)
    return written


def _figure(plot: Plot, size: Size, colours: dict[Role, str]) -> Figure:
    figure = Figure(figsize=(size.width / 72, size.height / 72))
    inner = (size.width - LEFT - RIGHT) / size.width, (size.height - TOP - BOTTOM) / size.height
    axes = figure.add_axes((LEFT / size.width, BOTTOM / size.height, *inner))
    for role in ROLES:
        if role in plot.curves:
            _draw(axes, plot, role, colours[role], size)
    _frame(axes, plot, size)
    return figure


def _draw(axes: Axes, plot: Plot, role: Role, colour: str, size: Size) -> None:
    curve = downsample(plot.curves[role], size.max_points // 2)
    style = (0, DASHES[role]) if DASHES[role] else "solid"
    axes.plot(
        curve.steps, curve.values, color=colour, linewidth=WIDTHS[role], linestyle=style, label=role, gid=f"{role}"
    )
    if role in plot.ends:
        cross = ALERT if colour in DRAWN else "#c00000"
        axes.plot(*plot.ends[role], "x", color=cross, markersize=9, mew=2.2, zorder=5, gid=f"end-{role}")


def _frame(axes: Axes, plot: Plot, size: Size) -> None:
    last = max(float(curve.steps[-1]) for curve in plot.curves.values())
    axes.set_xlim(0, 1.01 * last)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(3, size.width // 130), steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(TickLabels(1.0))
    if is_logarithmic(plot):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.6g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", which="minor", length=0)
        return
    axes.yaxis.set_major_locator(MaxNLocator(nbins=max(4, size.height // 50), steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(TickLabels(1.0))
