"""A curve of bounded size, and its drawing in Braille dots, two columns and four rows of them to a character."""

import math
from collections.abc import Callable
from dataclasses import dataclass

MAX_BINS = 2048
SETTLING_SHARE = 0.1  # first part of a run, whose steep fall would flatten the rest
DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode's numbering, rows from the top
BRAILLE = 0x2800
SHADE = "░"

Span = tuple[float, float]


class Curve:
    """Values over steps, kept as the lowest and the highest of each stretch of records.

    However long a run is, it takes the same memory and the same time to draw: when MAX_BINS stretches are full, each
    two of them become one. NaN is a gap.
    """

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.spans: list[Span] = []
        self.records_in_a_bin, self.records_in_the_last = 1, 0
        self.shown_to = -math.inf
        """Step to which a drawing reaches, where the curve does not."""

    def add(self, step: float, value: float) -> None:
        """Append a value; one at a step that was passed already voids what lies behind it, as a rollback does."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.spans.pop()
            self.records_in_the_last = self.records_in_a_bin
        if self.spans and self.records_in_the_last < self.records_in_a_bin:
            self.spans[-1] = _together(self.spans[-1], (value, value))
            self.records_in_the_last += 1
            return
        self.steps.append(step)
        self.spans.append((value, value))
        self.records_in_the_last = 1
        if len(self.steps) >= MAX_BINS:
            self.steps = self.steps[::2]
            pairs = zip(self.spans[::2], self.spans[1::2], strict=True)
            self.spans = [_together(first, second) for first, second in pairs]
            self.records_in_a_bin *= 2
            self.records_in_the_last = self.records_in_a_bin

    def limits(self) -> Span | None:
        """Lowest and highest value after the first steep fall; None without a finite value."""
        first = int(len(self.spans) * SETTLING_SHARE) if len(self.spans) >= 20 else 0
        finite = [span for span in self.spans[first:] if math.isfinite(span[0])]
        return (min(low for low, _ in finite), max(high for _, high in finite)) if finite else None

    def column_of(self, step: float, columns: int) -> int | None:
        """The column of a step in a drawing of so many columns; None outside of it."""
        if not self.steps:
            return None
        first, last = self.steps[0], max(self.steps[-1], self.shown_to)
        if not first <= step <= last:
            return None
        return min(int((step - first) / (last - first or 1.0) * columns), columns - 1)

    def step_of(self, column: int, columns: int) -> float:
        """The step in the middle of a column of such a drawing, of a curve that has steps."""
        first, last = self.steps[0], max(self.steps[-1], self.shown_to)
        return first + (column + 0.5) / columns * (last - first)


def _together(first: Span, second: Span) -> Span:
    """The span of two; a gap does not hide a number."""
    if math.isnan(first[0]):
        return second
    if math.isnan(second[0]):
        return first
    return min(first[0], second[0]), max(first[1], second[1])


@dataclass(frozen=True)
class Scale:
    """Values as rows of dots, counted from the bottom; `limits` must be positive for a logarithmic one."""

    limits: Span
    rows: int
    logarithmic: bool = False

    def dot(self, value: float) -> int:
        """The row of dots of a value; what lies beyond the limits is at the edge."""
        scale, height = math.log if self.logarithmic else float, 4 * self.rows
        low, high = scale(self.limits[0]), scale(self.limits[1])
        share = (scale(min(max(value, self.limits[0]), self.limits[1])) - low) / (high - low) if high > low else 0.5
        return min(int(share * height), height - 1)

    def row(self, value: float) -> int:
        """The row of characters of a value, counted from the top."""
        return self.rows - 1 - self.dot(value) // 4


def draw(curve: Curve, columns: int, scale: Scale) -> list[str]:
    """The curve as rows of `columns` Braille characters."""
    rows, dot = scale.rows, scale.dot
    height = 4 * rows
    cells = [[0] * columns for _ in range(rows)]
    before: tuple[int, int] | None = None
    for column, span in enumerate(_columns(curve, 2 * columns)):
        if span is None:
            before = None
            continue
        bottom, top = dot(span[0]), dot(span[1])
        drawn = _touching(before, bottom, top)
        for y in range(drawn[0], drawn[1] + 1):
            row, bit = divmod(height - 1 - y, 4)
            cells[row][column // 2] |= DOT_BITS[bit][column % 2]
        before = bottom, top
    return ["".join(chr(BRAILLE + cell) for cell in row) for row in cells]


def shade(drawn: list[str], curve: Curve, band_at: Callable[[float], Span | None], scale: Scale) -> list[str]:
    """The drawing with SHADE where a band runs and the curve does not: what is seen of it in the past, the curve left.

    Args:
        band_at: lower and upper edge at a step; None where there is no band.
    """
    cells, columns = [list(row) for row in drawn], len(drawn[0])
    for column in range(columns):
        band = band_at(curve.step_of(column, columns))
        if band is None or band[1] < scale.limits[0] or band[0] > scale.limits[1]:
            continue
        for row in range(scale.row(band[1]), scale.row(band[0]) + 1):
            if cells[row][column] == chr(BRAILLE):
                cells[row][column] = SHADE
    return ["".join(row) for row in cells]


def _touching(before: tuple[int, int] | None, bottom: int, top: int) -> tuple[int, int]:
    """Dots of a column, drawn out to those of the column before it, so that a steep curve is one line."""
    if before is None:
        return bottom, top
    if bottom > before[1]:
        return before[1] + 1, top
    return (bottom, before[0] - 1) if top < before[0] else (bottom, top)


def _columns(curve: Curve, columns: int) -> list[Span | None]:
    """The span in each column of dots; between two records a straight line, across a gap nothing."""
    found: list[Span | None] = [None] * columns
    last: tuple[int, float] | None = None
    for step, span in zip(curve.steps, curve.spans, strict=True):
        column = curve.column_of(step, columns)
        if column is None or not math.isfinite(span[0]):
            last = None
            continue
        middle = (span[0] + span[1]) / 2
        if last is not None:
            for between in range(last[0] + 1, column):
                value = last[1] + (middle - last[1]) * (between - last[0]) / (column - last[0])
                found[between] = (value, value)
        there = found[column]
        found[column] = span if there is None else _together(there, span)
        last = column, middle
    return found
