"""The drawings of a comparison: all curves in one frame, and the differences between settings with their intervals.

Colours are those of Okabe and Ito (2008, jfly.uni-koeln.de/color), a little darker on white, and each line has dashes
of its own, so that settings are told apart without colour. They are CSS variables of the page.
"""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from megatron_recipe.report.comparison_curves import SettingCurve
from megatron_recipe.report.comparison_file import Pair
from megatron_recipe.report.figures import ALERT, BOTTOM, INK, MUTED, RIGHT, RULE, STYLE, TOP, Size, TickLabels, inline
from megatron_recipe.report.figures import LEFT as LOSS_LABELS
from megatron_recipe.report.series import Array, Series, downsample, settled

COLOURS = 8
DRAWN = [f"#0001{number:02x}" for number in range(1, COLOURS + 1)]
"""What matplotlib draws in; the page paints `var(--set-1)` and so on."""
DASHES = ((), (7.0, 3.0), (2.0, 2.0), (8.0, 2.5, 2.0, 2.5))
BAND_OPACITY = 0.18
PAIR_HEIGHT, PAIR_LEFT = 46, 14  # pixels of a difference's row, and around its axes
MAX_PAIRS = 24
STEEP_SHARE = 0.12
"""First part of the runs, in which all losses fall steeply: it leaves the frame, so that the end can be told apart."""
TOKEN_UNITS = ((1e9, "billion_tokens"), (1e6, "million_tokens"), (1e3, "thousand_tokens"), (1.0, "tokens"))


def colour_of(number: int) -> str:
    """The CSS colour of setting `number`, counted from zero."""
    return f"var(--set-{number % COLOURS + 1})"


def dashes_of(number: int) -> tuple[float, ...]:
    """Lengths of line and gap; no two of the first 32 settings have both colour and dashes in common."""
    return DASHES[(number + number // COLOURS) % len(DASHES)]


def token_unit(curves: Sequence[SettingCurve]) -> tuple[float, str]:
    """What a tick of the token axis counts: its size and its name."""
    most = max((float(one.steps.max()) for curve in curves for one in curve.all_series), default=0.0)
    return next((unit for unit in TOKEN_UNITS if most >= 2 * unit[0]), TOKEN_UNITS[-1])


def draw_curves(name: str, curves: Sequence[SettingCurve], size: Size) -> str:
    """The SVG of all curves: a mean line and the seeds' band for each setting, thin lines for runs in no mean."""
    unit, _ = token_unit(curves)
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(size, LOSS_LABELS)
        axes.grid(axis="y")
        axes.tick_params(axis="y", length=0)
        for number, curve in enumerate(curves):
            _draw_setting(axes, number, curve, unit, size)
        axes.set_ylim(*loss_range(curves))
        axes.set_xlim(0.0, 1.01 * max((float(s.steps.max()) / unit for c in curves for s in c.all_series), default=1.0))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=max(3, size.width // 100), steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=max(4, size.height // 50), steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(TickLabels(1.0))
        axes.yaxis.set_major_formatter(TickLabels(1.0))
        return _svg(figure, f"{name}{size.width}")


def loss_range(curves: Sequence[SettingCurve]) -> tuple[float, float]:
    """A frame that shows the means after their steep beginning; a run that diverged does not squash the others."""
    means = [curve for curve in curves if curve.mean is not None]
    shown: list[Array] = []
    for curve in means:
        assert curve.mean is not None
        late = curve.mean.steps >= STEEP_SHARE * curve.mean.steps[-1]
        shown += [curve.low[late], curve.high[late]]
    shown = shown or [settled(one).finite for curve in curves for one in curve.all_series]
    values = np.concatenate([*shown, np.array([])])
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def draw_differences(name: str, pairs: Sequence[Pair], size: Size) -> str:
    """The SVG of differences a - b: each under its name, with its interval, beside the line of no difference.

    Only the size's width counts; the height follows from the number of pairs.
    """
    size = Size(size.width, PAIR_HEIGHT * len(pairs) + TOP + BOTTOM, size.max_points)
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(size, PAIR_LEFT)
        axes.grid(axis="x")
        ends = [0.0]
        for row, pair in enumerate(pairs):
            _draw_difference(axes, row, pair)
            ends += [end for end in (pair.low, pair.difference, pair.high) if end is not None]
        margin = 0.06 * (max(ends) - min(ends)) or 1.0
        axes.set_xlim(min(ends) - margin, max(ends) + margin)
        axes.set_ylim(len(pairs), 0)
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(nbins=max(3, size.width // 120), steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(TickLabels(1.0))
        return _svg(figure, f"{name}{size.width}")


def _draw_setting(axes: Axes, number: int, curve: SettingCurve, unit: float, size: Size) -> None:
    colour, points = DRAWN[number % COLOURS], size.max_points // 4
    for index, one in enumerate(curve.alone):
        thin = downsample(one, points)
        axes.plot(thin.steps / unit, thin.values, color=colour, linewidth=0.9, gid=f"alone{number}-{index}")
        end = np.flatnonzero(np.isfinite(one.values))[-1]
        axes.plot(
            one.steps[end] / unit,
            one.values[end],
            "x",
            color=ALERT,
            markersize=7,
            mew=1.8,
            zorder=5,
            gid=f"end{number}-{index}",
        )
    if curve.mean is None:
        return
    if curve.seeds > 1:
        low, high = (downsample(Series(curve.mean.steps, edge), points) for edge in (curve.low, curve.high))
        outline_x = np.concatenate([low.steps, high.steps[::-1]]) / unit
        outline_y = np.concatenate([low.values, high.values[::-1]])
        axes.fill(outline_x, outline_y, color=colour, alpha=BAND_OPACITY, linewidth=0, gid=f"band{number}")
    mean = downsample(curve.mean, points)
    dashes = dashes_of(number)
    style = (0, dashes) if dashes else "solid"
    axes.plot(mean.steps / unit, mean.values, color=colour, linewidth=1.9, linestyle=style, gid=f"mean{number}")


def _draw_difference(axes: Axes, row: int, pair: Pair) -> None:
    y = row + 0.68
    axes.plot([0.0, 0.0], [row + 0.42, row + 0.94], color=INK, linewidth=1, gid=f"zero{row}")
    colour = DRAWN[0] if pair.is_shown else MUTED
    axes.text(
        0.0, row + 0.24, f"{pair.a} − {pair.b}", color=INK, va="center", transform=axes.get_yaxis_transform(),
        gid=f"label{row}",
    )  # fmt: skip
    if pair.low is not None and pair.high is not None:
        axes.plot([pair.low, pair.high], [y, y], color=colour, linewidth=2.6, gid=f"interval{row}")
        axes.plot([pair.low, pair.high], [y, y], "|", color=colour, markersize=9, markeredgewidth=1.6)
    inside = colour if pair.is_shown else "none"
    axes.plot(pair.difference, y, "o", color=colour, markersize=7, markeredgewidth=1.8, gid=f"pair{row}", mfc=inside)


def _axes(size: Size, left: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(size.width / 72, size.height / 72))
    inner = (size.width - left - RIGHT) / size.width, (size.height - TOP - BOTTOM) / size.height
    axes = figure.add_axes((left / size.width, BOTTOM / size.height, *inner))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, prefix: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = inline(buffer.getvalue(), prefix)
    for number, drawn in enumerate(DRAWN):
        svg = svg.replace(drawn, colour_of(number))
    return svg
