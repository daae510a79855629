"""What may be said of a comparison: computed from its intervals, and no more than they say."""

from collections.abc import Sequence
from typing import Any

from megatron_recipe.lab.intervals import Difference
from megatron_recipe.lab.measures import HELD_OUT

ALL_PAIRS_UP_TO = 3
"""Settings; of more, the best alone is set against each of the others (the table of pairs has them all)."""
SIMILAR_WIDTHS = 2.5
"""Largest by smallest half width of intervals that stand in one sentence: one wide interval would hide the others."""
NOT_MEASURED = {
    "one_seed": "one seed has no spread: whether another would say the same is not known; give two seeds or more",
    "too_few_runs": "too few runs of these settings ended to know their spread",
    "no_held_out_loss": "no held-out loss was measured",
}
"""Why nothing can be said."""

Conclusion = dict[str, Any]
Pairs = Sequence[tuple[str, str, Difference | None]]


def conclude(pairs: Pairs, means: dict[str, float], runs_planned: int) -> list[Conclusion]:
    """Conclusions on the held-out loss, of which less is better.

    Args:
        pairs: all pairs of settings with their difference a - b; None where it is not known.
        means: of the settings that were measured.
        runs_planned: the most runs that a setting was to have.
    """
    if not means:
        return [_nothing("no_held_out_loss", [])]
    best = min(means, key=lambda label: means[label])
    labels = list(dict.fromkeys(label for a, b, _ in pairs for label in (a, b)))
    if len(labels) > ALL_PAIRS_UP_TO:
        pairs = [pair for pair in pairs if best in pair[:2]]
    known = [(a, b, found) for a, b, found in pairs if found is not None]
    unknown = [(a, b) for a, b, found in pairs if found is None]
    shown = [_better(a, b, found) for a, b, found in known if found.shown]
    alike = [(a, b, found) for a, b, found in known if not found.shown]
    conclusions = sorted(shown, key=lambda one: means[one["better"]])
    if alike and not shown and not unknown and _similar([found for _, _, found in alike]):
        together = list(dict.fromkeys(label for a, b, _ in alike for label in (a, b)))
        conclusions.append(_alike(together, [found for _, _, found in alike]))
    else:
        conclusions += [_alike([a, b], [found]) for a, b, found in alike]
    if unknown:
        reason = "one_seed" if runs_planned == 1 else "too_few_runs"
        conclusions.append(_nothing(reason, list(dict.fromkeys(label for pair in unknown for label in pair))))
    return conclusions


def _similar(found: Sequence[Difference]) -> bool:
    widths = [one.half_width for one in found]
    return max(widths) <= SIMILAR_WIDTHS * min(widths)


def _better(a: str, b: str, found: Difference) -> Conclusion:
    better, worse = (a, b) if found.mean < 0 else (b, a)
    return {
        "kind": "better",
        "better": better,
        "worse": worse,
        "measure": HELD_OUT,
        "difference": abs(found.mean),
        "half_width": found.half_width,
        "seeds": found.seeds,
    }


def _alike(labels: list[str], found: Sequence[Difference]) -> Conclusion:
    return {
        "kind": "no_difference",
        "labels": labels,
        "measure": HELD_OUT,
        "half_width": max(one.half_width for one in found),
        "seeds": min(one.seeds for one in found),
    }


def _nothing(reason: str, labels: list[str]) -> Conclusion:
    return {"kind": "not_measured", "reason": NOT_MEASURED[reason], "why": reason, "labels": labels}
