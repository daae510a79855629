"""Numbers with their error: exact where every document was read, else a 95 % interval from a simple random sample.

An estimate is a dict, as it stands in the JSON: ``value``, ``low`` and ``high`` (equal where ``exact`` is true).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Estimate = dict[str, Any]
Array = npt.NDArray[Any]

Z_95 = 1.959963984540054
"""Quantile of the normal distribution that leaves 2.5 % on each side."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def exactly(value: float) -> Estimate:
    """A number that was counted."""
    return {"value": value, "low": value, "high": value, "exact": True}


def wilson(count: int, of: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927, J. Amer. Stat. Assoc. 22, 209); it never leaves [0, 1].

    Args:
        count: sampled documents that have the property.
        of: sampled documents, at least 1.
    """
    share, z2 = count / of, Z_95**2 / of
    middle = (share + z2 / 2) / (1 + z2)
    half = Z_95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of)) / (1 + z2)
    return (0.0 if count == 0 else max(middle - half, 0.0)), (1.0 if count == of else min(middle + half, 1.0))


def share(count: int, of: int, exact: bool) -> Estimate:
    """A share of documents, with `count` and `of` beside it; 0 of 0 is 0."""
    if of == 0 or exact:
        return exactly(count / max(of, 1)) | {"count": count, "of": of}
    low, high = wilson(count, of)
    return {"value": count / of, "low": low, "high": high, "exact": False, "count": count, "of": of}


def mean(values: Sequence[float] | Array, documents: int) -> Estimate:
    """The mean over `documents` of which `values` are a sample: ± 1.96 standard errors, for a finite whole."""
    array = np.asarray(values, dtype=float)
    return _around(float(array.mean()) if len(array) else 0.0, array, documents)


def total_by_ratio(parts: Array, wholes: Array, whole_total: float, documents: int) -> Estimate:
    """The total of `parts` over all documents, from that of `wholes`, which is known (a ratio estimator).

    Far tighter than mean x documents where the two go together, as characters and bytes do (Cochran 1977, chapter 6).

    Args:
        parts, wholes: one number for each sampled document.
        whole_total: the sum of `wholes` over all `documents`.
    """
    ratio = float(parts.sum() / wholes.sum()) if len(wholes) and wholes.sum() else 0.0
    per_document = _around(0.0, parts - ratio * wholes, documents)
    half = per_document["high"] * documents
    value = ratio * whole_total
    if per_document["exact"]:
        return exactly(float(parts.sum()))
    return {"value": value, "low": max(value - half, 0.0), "high": value + half, "exact": False}


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """The estimate times a number that is known."""
    return estimate | {name: estimate[name] * factor for name in ("value", "low", "high")}


def quantiles(values: Array) -> dict[str, float]:
    """The quantiles of the sample by their names: ``p5``, ``p25``, ``p50``, ``p75``, ``p95``."""
    found = np.quantile(values, QUANTILES) if len(values) else np.zeros(len(QUANTILES))
    return {f"p{round(100 * name)}": float(value) for name, value in zip(QUANTILES, found, strict=True)}


def _around(value: float, values: Array, documents: int) -> Estimate:
    count = len(values)
    if count >= documents:
        return exactly(value)
    if count < 2:  # one document says nothing of the spread
        return {"value": value, "low": -math.inf, "high": math.inf, "exact": False}
    correction = math.sqrt((documents - count) / (documents - 1))
    half = Z_95 * float(values.std(ddof=1)) / math.sqrt(count) * correction
    return {"value": value, "low": value - half, "high": value + half, "exact": False}
