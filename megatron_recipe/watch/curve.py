"""A curve of bounded size, and its drawing in Braille dots, two columns and four rows of them to a character."""

import math

MAX_BINS = 2048
SETTLING_SHARE = 0.1  # first part of a run, whose steep fall would flatten the rest
DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode's numbering, rows from the top
BRAILLE = 0x2800

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
        if not self.steps or not self.steps[0] <= step <= self.steps[-1]:
            return None
        width = self.steps[-1] - self.steps[0] or 1.0
        return min(int((step - self.steps[0]) / width * columns), columns - 1)


def _together(first: Span, second: Span) -> Span:
    """The span of two; a gap does not hide a number."""
    if math.isnan(first[0]):
        return second
    if math.isnan(second[0]):
        return first
    return min(first[0], second[0]), max(first[1], second[1])


def draw(curve: Curve, columns: int, rows: int, limits: Span, *, logarithmic: bool = False) -> list[str]:
    """The curve as `rows` strings of `columns` Braille characters, between `limits`, which must be positive for a
    logarithmic scale. What lies beyond them is drawn at the edge.
    """
    scale = math.log if logarithmic else float
    low, high = scale(limits[0]), scale(limits[1])
    height = 4 * rows

    def dot(value: float) -> int:
        share = (scale(min(max(value, limits[0]), limits[1])) - low) / (high - low) if high > low else 0.5
        return min(int(share * height), height - 1)

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
