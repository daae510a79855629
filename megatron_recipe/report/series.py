"""Curves as arrays: gaps for what is not finite, smoothing, downsampling, and a range that shows the curve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMOOTHING_SHARE = 0.02  # window of the moving average, as a share of all points
SMOOTHING_MIN_POINTS = 5
SETTLING_SHARE = 0.05  # first part of a run, whose steep fall is not allowed to squash the rest
SETTLING_MIN_POINTS = 20  # shorter curves are shown whole and as they are


@dataclass(frozen=True)
class Series:
    """Values over steps, both of shape [points]; NaN where a value is missing or not finite."""

    steps: Array
    values: Array

    @property
    def finite(self) -> Array:
        return self.values[np.isfinite(self.values)]


def series(records: list[dict[str, Any]], field: str) -> Series:
    """The `field` of `records` over their steps; what is null, NaN or infinite becomes NaN."""
    values = np.array([np.nan if r.get(field) is None else float(r[field]) for r in records], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return Series(np.array([r["step"] for r in records], dtype=np.float64), values)


def not_finite_steps(records: list[dict[str, Any]], field: str) -> list[int]:
    """Steps at which `field` was measured as NaN or infinite (null means: not measured)."""
    return [r["step"] for r in records if r.get(field) is not None and not np.isfinite(float(r[field]))]


def smoothing_window(points: int) -> int:
    """Odd number of points that the moving average spans."""
    return max(SMOOTHING_MIN_POINTS, int(points * SMOOTHING_SHARE)) | 1 if points >= SETTLING_MIN_POINTS else 1


def smooth(curve: Series) -> Series:
    """Centred moving average over the finite points of each window (shorter at both ends); gaps stay gaps."""
    half = smoothing_window(len(curve.values)) // 2
    there = np.isfinite(curve.values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(there, curve.values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(there)])
    index = np.arange(len(curve.values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(index))
    mean = (sums[high] - sums[low]) / np.maximum(counts[high] - counts[low], 1)
    return Series(curve.steps, np.where(there, mean, np.nan))


def downsample(curve: Series, max_points: int) -> Series:
    """At most `max_points` points that keep each bin's minimum, maximum and a gap, so no spike is lost."""
    points = len(curve.values)
    if points <= max_points:
        return curve
    keep: set[int] = {0, points - 1}
    for bin_of_points in np.array_split(np.arange(points), max(1, (max_points - 2) // 3)):
        values = curve.values[bin_of_points]
        missing = np.flatnonzero(np.isnan(values))
        if len(missing) < len(values):
            keep |= {int(bin_of_points[np.nanargmin(values)]), int(bin_of_points[np.nanargmax(values)])}
        if len(missing):
            keep.add(int(bin_of_points[missing[0]]))
    chosen = sorted(keep)
    return Series(curve.steps[chosen], curve.values[chosen])


def settled(curve: Series) -> Series:
    """The curve without its first SETTLING_SHARE; short curves whole."""
    first = int(len(curve.values) * SETTLING_SHARE) if len(curve.values) >= SETTLING_MIN_POINTS else 0
    return Series(curve.steps[first:], curve.values[first:])


def visible_range(curve: Series, others: Array, *, from_zero: bool = False) -> tuple[float, float]:
    """Lower and upper end of the y axis: all of `others`, and the settled curve but for its highest 0.5 %.

    What lies above (the first steps, single spikes) leaves the frame; `above` says how much that is.
    """
    body = settled(curve).finite
    others = others[np.isfinite(others)]
    if not len(body) and not len(others):
        return 0.0, 1.0
    top = np.quantile(body, 0.995) if len(body) >= SETTLING_MIN_POINTS else np.max(body, initial=-np.inf)
    high = float(np.max(others, initial=top))
    low = 0.0 if from_zero else float(min(np.min(body, initial=np.inf), np.min(others, initial=np.inf)))
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if from_zero else low - margin), high + margin


def above(curve: Series, high: float) -> Series:
    """The points beyond the upper end of the frame."""
    beyond = curve.values > high
    return Series(curve.steps[beyond], curve.values[beyond])
