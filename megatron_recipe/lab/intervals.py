"""How sure a difference between two settings is: all of the statistics, in one place.

One run of each of two settings always shows a difference: other initial weights and another order of the samples do,
too. Only several seeds tell how much of it that is.

**Paired.** Runs of two settings on one seed begin with the same weights and read the samples in the same order, so that
what the seed does to both cancels in their difference. Where two settings share two seeds or more, the differences seed
by seed are taken, and their mean has a Student t interval with n - 1 degrees of freedom.

**Unpaired.** Settings on different seeds have nothing to cancel: the difference of their means has Welch's interval,
which takes the two spreads as they are and not as equal (B. L. Welch, Biometrika 34, 1947), with the
Welch-Satterthwaite degrees of freedom. It needs two runs of each.

**Many pairs.** Of k settings there are k(k-1)/2 pairs, and with enough of them some interval misses 0 by chance. Each
interval of a measure gets the confidence 1 - (1 - c) / pairs (Bonferroni), so that with probability c or more *all* of
them hold at once. Holm's procedure would show a few more differences, but has no intervals that agree with it.

What is assumed: that runs of a setting scatter like a normal distribution. With three seeds nobody can check that, and
the factor is large on purpose (4.3 for two settings at 95 %, 7.6 for three): more seeds make it small.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from megatron_recipe.lab.student import t_quantile


@dataclass(frozen=True)
class Mean:
    """Of a setting's runs, with the interval of a single mean, not corrected; None of a single run."""

    mean: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """Of two settings' means, a - b, with its corrected interval."""

    mean: float
    half_width: float
    seeds: int
    """Pairs, or the runs of the smaller group."""
    paired: bool

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half_width

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def mean_of(values: Sequence[float], confidence: float) -> Mean | None:
    """Mean and Student t interval of the runs of one setting; None without runs."""
    if not values:
        return None
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Mean(mean, None, None, len(values))
    half = _factor(confidence, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Mean(mean, mean - half, mean + half, len(values))


def difference(a: dict[int, float], b: dict[int, float], confidence: float, pairs: int) -> Difference | None:
    """The difference of two settings, a - b; None where there are too few runs to know their spread.

    Args:
        a, b: a value for each seed.
        confidence: of all pairs of this measure together.
        pairs: how many there are.
    """
    shared = sorted(set(a) & set(b))
    corrected = 1 - (1 - confidence) / pairs
    if len(shared) >= 2:
        return _paired([a[seed] - b[seed] for seed in shared], corrected)
    if not shared and min(len(a), len(b)) >= 2:
        return _welch(list(a.values()), list(b.values()), corrected)
    return None


def _paired(differences: list[float], confidence: float) -> Difference:
    count = len(differences)
    half = _factor(confidence, count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return Difference(statistics.fmean(differences), half, count, paired=True)


def _welch(a: list[float], b: list[float], confidence: float) -> Difference:
    spreads = [statistics.variance(values) / len(values) for values in (a, b)]
    total = sum(spreads)
    mean, seeds = statistics.fmean(a) - statistics.fmean(b), min(len(a), len(b))
    if not total:
        return Difference(mean, 0.0, seeds, paired=False)
    degrees = total**2 / sum(spread**2 / (len(values) - 1) for spread, values in zip(spreads, (a, b), strict=True))
    return Difference(mean, _factor(confidence, degrees) * math.sqrt(total), seeds, paired=False)


def _factor(confidence: float, degrees: float) -> float:
    """Of the standard error, for a two-sided interval."""
    return t_quantile((1 + confidence) / 2, degrees)
