"""Quantiles of Student's t distribution, also for fractional degrees of freedom, from the standard library alone.

The distribution function is a regularised incomplete beta function (Abramowitz and Stegun 26.7.1), computed as the
continued fraction 26.5.8 by Lentz's method; the quantile is where bisection finds it.
"""

import math
from functools import cache

TINY, PRECISION, MOST_TERMS = 1e-300, 1e-15, 10_000


@cache
def t_quantile(probability: float, degrees: float) -> float:
    """The t that is not exceeded with `probability`, which lies above 0.5.

    Args:
        degrees: of freedom, more than 0.
    """
    assert 0.5 < probability < 1 and degrees > 0, (probability, degrees)
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def t_cdf(t: float, degrees: float) -> float:
    """Probability of a value of no more than t, which is not negative."""
    return 1 - incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5) / 2


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly, its mirror image does not
        return 1 - incomplete_beta(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / a
    return front * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 / (1 + d1 / (1 + d2 / (1 + …))), evaluated from the front as 1 + that, so that no denominator begins at 0."""
    value, above, below = 1.0, 1.0, 0.0
    for term in range(MOST_TERMS):
        m = term // 2
        if term == 0:
            d = 1.0
        elif term % 2 == 0:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        below = 1 / (1 + d * below or TINY)
        above = 1 + d / above or TINY
        value *= above * below
        if term and abs(above * below - 1) < PRECISION:
            break
    return value - 1
