"""One frame of the dashboard: what is known of the run, laid out for the width and height there is."""

from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from megatron_recipe.report.formats import integer, short, visible
from megatron_recipe.watch.curve import SHADE, Curve, Scale, draw, shade
from megatron_recipe.watch.lists import benchmark_rows, checkpoint_rows, event_rows, held_out_rows, reference_rows
from megatron_recipe.watch.numbers import number_groups
from megatron_recipe.watch.run_view import RunView, Status, number
from megatron_recipe.watch.words import Words

STATUS_STYLES = {"training": "bold green", "finished": "bold green", "stopped": "bold yellow", "silent": "bold red"}
# What is marked below the loss curve, by event: its sign, where it stands (the field of the step), and its style.
MARKS = {
    "resume": ("|", "step", ""),
    "update_skipped": ("x", "step", "yellow"),
    "spike": ("!", "step", "red"),
    "rollback": ("<", "from_step", "bold red"),
}
LABEL_WIDTH = 12
AXIS_WIDTH = 8
SMALLEST_WIDTH = 50


@dataclass(frozen=True)
class Plot:
    """A curve's place: its size in characters, and how it is drawn."""

    width: int
    rows: int
    style: str
    from_share: float = 0.0
    """Where the axis begins at the latest, as a share of the highest value."""
    logarithmic: bool = False
    marked: bool = False


def frame(view: RunView, words: Words, width: int, height: int, now: float) -> RenderableType:
    """The dashboard as something rich prints, at most `height` lines of `width` columns; `now` is a Unix time."""
    width = max(width, SMALLEST_WIDTH)
    numbers = number_groups(view, words)
    number_rows = min(max((len(group) for group in numbers), default=0), 4 if height < 32 else 6)
    left = height - 4 - number_rows  # title, bar, and two lines that stay free
    validations = held_out_rows(view, words, LABEL_WIDTH, most=1 if height < 32 else 4)
    benchmarks = benchmark_rows(view, words, LABEL_WIDTH, width, most=2 if height < 32 else 3)
    checkpoints = checkpoint_rows(view, words, LABEL_WIDTH, most=2 if height < 32 else 4)
    reference = reference_rows(view, words, LABEL_WIDTH)
    left -= len(validations) + len(benchmarks) + len(checkpoints) + len(reference)
    curve_rows = max(3, min(left - (5 if height < 32 else 10), height // 2)) if left > 3 else 0
    events = event_rows(view, words, LABEL_WIDTH, most=max(left - curve_rows, 1))
    parts: list[RenderableType] = [_title(view, words, now), _bar(view, words, width, now)]
    parts += [_numbers(numbers, number_rows, 1 if width < 100 else 3)] if number_rows else []
    parts += [_curves(view, words, width, curve_rows)] if curve_rows else []
    parts += [*reference, *validations, *benchmarks, *checkpoints, *events]
    parts.append(Text(words("hint"), style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def _title(view: RunView, words: Words, now: float) -> RenderableType:
    status = view.status(now)
    name = Text(visible(view.folder.absolute().name), style="bold", no_wrap=True, overflow="ellipsis")
    environment = view.environment
    device, count = str(environment.get("device") or ""), number(environment.get("world_size"), 1)
    device = "CPU" if device == "cpu" else device
    hardware = device if count == 1 or not device else f"{integer(count)} × {device}"
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(no_wrap=True, justify="right")
    said = _status_words(status, words, now)
    name.append(f"  {said}", style=STATUS_STYLES.get(status.kind, ""))
    line.add_row(name, Text(visible(hardware), style="dim"))
    return line


def _status_words(status: Status, words: Words, now: float) -> str:
    said = words(status.kind, duration=words.duration(max(now - status.since, 0.0)))
    reason = " ".join(visible(status.reason).split())
    return f"{said}: {reason}" if reason else said


def _bar(view: RunView, words: Words, width: int, now: float) -> RenderableType:
    progress = view.progress()
    step, steps = view.train.get("step"), number(view.section("train").get("steps"))
    if step is not None:
        known = steps is not None and not number(view.section("budget").get("amount"), 0.0)
        where = words("step" if known else "step_alone", step=integer(step), steps=integer(steps))
    else:
        where = ""
    tokens = number(view.train.get("tokens"))
    ended = view.status(now).kind in ("stopped", "finished")
    seconds = number(view.train.get("seconds")) if ended else view.seconds_left(now)
    facts = [
        f"{100 * progress:.1f}%" if progress is not None else "",
        where,
        words("tokens", tokens=short(tokens)) if tokens is not None else "",
        words("took" if ended else "left", duration=words.duration(seconds)) if seconds is not None else "",
    ]
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(ratio=1)
    line.add_column(no_wrap=True, justify="right", overflow="ellipsis")
    bar: RenderableType = ProgressBar(
        total=1.0, completed=progress or 0.0, complete_style="cyan", finished_style="green"
    )
    line.add_row(bar if width >= 70 else Text(""), Text("  ".join(filter(None, facts)), no_wrap=True))
    return line


def _numbers(groups: list[list[tuple[str, str]]], rows: int, gap: int) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, gap))
    for _ in groups:
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        table.add_column(no_wrap=True, justify="right", style="bold")
    for row in range(rows):
        cells: list[str] = []
        for group in groups:
            cells += group[row] if row < len(group) else ("", "")
        table.add_row(*map(Text, cells))
    return table


def _curves(view: RunView, words: Words, width: int, rows: int) -> RenderableType:
    """The loss at the left; learning rate and throughput above one another at the right."""
    wide = int(width * 0.58)
    narrow = width - wide - 2
    upper = (rows - 2) // 2  # two headings at the right, a heading and an axis at the left
    loss = _plot(view, words, "loss", Plot(wide, rows - 2, "cyan", logarithmic=True, marked=True))
    right = _plot(view, words, "learning_rate", Plot(narrow, upper, "magenta"))
    right += _plot(view, words, "tokens_per_second", Plot(narrow, rows - 2 - upper, "green", from_share=0.7))
    grid = Table.grid(padding=(0, 0))
    grid.add_column(width=wide, no_wrap=True)
    grid.add_column(width=2)
    grid.add_column(width=narrow, no_wrap=True)
    grid.add_row(Group(*loss), "", Group(*right))
    return grid


def _plot(view: RunView, words: Words, name: str, plot: Plot) -> list[RenderableType]:
    curve, columns = view.curves[name], max(plot.width - AXIS_WIDTH, 8)
    heading = Text(words(f"curve.{name}"), style="bold", no_wrap=True, overflow="ellipsis")
    limits = curve.limits()
    if limits is None or plot.rows < 1:
        heading.append(f"  {words('not_yet')}", style="dim")
        return [heading, *[Text("")] * (plot.rows + plot.marked)]
    standing = view.standing if plot.marked else None
    if standing and (ahead := standing.reference.band_at(curve.shown_to)):
        limits = min(limits[0], ahead[0]), max(limits[1], ahead[1])
    logarithmic = plot.logarithmic and limits[0] > 0
    if not plot.logarithmic:
        limits = min(plot.from_share * limits[1], limits[0]), limits[1]
    scale = Scale(limits, plot.rows, logarithmic)
    drawn = draw(curve, columns, scale)
    if standing:
        drawn = shade(drawn, curve, standing.reference.band_at, scale)
        heading.append(f"  {SHADE} {visible(standing.reference.name)}", style="dim")
    lines: list[RenderableType] = []
    for row, dots in enumerate(drawn):
        label = limits[1] if row == 0 else limits[0] if row == plot.rows - 1 else None
        line = Text(_tick(label).rjust(AXIS_WIDTH - 1) + " ", style="dim", no_wrap=True)
        lines.append(line.append_text(_dots(dots, plot.style)))
    if not plot.marked:
        return [heading, *lines]
    marks, seen = _marks(view, curve, columns)
    for event in seen:
        heading.append(f"  {words(f'mark.{event}')}", style=MARKS[event][2] or "dim")
    return [heading, *lines, Text(" " * (AXIS_WIDTH - 1) + "└", style="dim", no_wrap=True).append_text(marks)]


def _dots(dots: str, style: str) -> Text:
    """A row of a drawing: the curve in its colour, a band behind it faintly."""
    row = Text(dots, style=f"not dim {style}")
    for column, cell in enumerate(dots):
        if cell == SHADE:
            row.stylize("dim white", column, column + 1)
    return row


def _marks(view: RunView, curve: Curve, columns: int) -> tuple[Text, list[str]]:
    """The axis below a curve with the signs of what happened, and the events that are on it."""
    axis: list[tuple[str, Any]] = [("─", "dim")] * columns
    seen = []
    for name, (sign, field, style) in MARKS.items():  # the gravest last, so that it is seen
        for event in view.events:
            step = number(event.get(field)) if event.get("event") == name else None
            column = curve.column_of(step, columns) if step is not None else None
            if column is not None:
                axis[column] = sign, style
                seen += [name] if name not in seen else []
    line = Text(no_wrap=True)
    for sign, style in axis:
        line.append(sign, style=style)
    return line, seen


def _tick(value: float | None) -> str:
    if value is None:
        return ""
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    return short(value) if abs(value) >= 1000 else f"{value:.0e}".replace("e-0", "e-")
