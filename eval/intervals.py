"""Bootstrap intervals of ratios, over documents: what a loss would be on other text of the same kind.

Tokens of one document resemble each other, so that whole documents are drawn, with replacement, and the ratio of the
sums is taken each time (percentile method; Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).
"""

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
AT_ONCE = 1 << 24


def bootstrap_interval(
    sums: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of sum(sums) / sum(weights), both of one value a document; the same numbers give the same interval.

    None for a single document, which says nothing about others.
    """
    count = len(sums)
    if count < 2:
        return None
    generator = np.random.default_rng(0)
    ratios: list[npt.NDArray[np.float64]] = []
    rows = max(AT_ONCE // count, 1)
    for start in range(0, RESAMPLES, rows):
        drawn = generator.integers(0, count, (min(rows, RESAMPLES - start), count))
        ratios.append(sums[drawn].sum(1) / np.maximum(weights[drawn].sum(1), 1))
    low, high = np.quantile(np.concatenate(ratios), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
