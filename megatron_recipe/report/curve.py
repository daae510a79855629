"""A drawn curve, and what must be said beside it."""

from dataclasses import dataclass

from megatron_recipe.report.series import Series


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
    lines: tuple[str, ...] = ()
    """Names of the curves in a figure of several, in the order of their colours."""
