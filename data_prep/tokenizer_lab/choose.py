"""Which tokenizer to take, by a rule that anyone can check against the table."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_prep.tokenizer_lab.compare import Measured
from data_prep.tokenizer_lab.cost import LARGE_VOCABULARY, Growth, cost, model_1b

NEAR = 0.03
"""Training costs that differ by less are called equal: less than what other held-out text would change."""


@dataclass(frozen=True)
class Choice:
    """The recommendation and what it rests on."""

    ranked: list[Measured]
    """Those that lose nothing, the cheapest to train with first."""
    unranked: list[Measured]
    """Those that lose text."""
    chosen: Measured | None
    """None where every tokenizer loses text."""
    growth: Growth | None
    """From the chosen vocabulary to LARGE_VOCABULARY; None where the chosen one is not smaller."""


def choose(measured: Sequence[Measured]) -> Choice:
    """Rank by 1B training operations per byte of the mix; among near ones take two-byte ids, then longer tokens.

    Operations per byte weigh both sides of a larger vocabulary: fewer tokens, and a dearer output layer for each.
    Among equals, ids of two bytes halve the dataset, and longer tokens put more text in a context window and in a
    second of generation.
    """
    ranked = sorted(
        (one for one in measured if not one.loses_text), key=lambda one: (one.flops_per_byte, one.candidate.name)
    )
    unranked = [one for one in measured if one.loses_text]
    if not ranked:
        return Choice([], unranked, None, None)
    near = [one for one in ranked if one.flops_per_byte <= ranked[0].flops_per_byte * (1 + NEAR)]
    chosen = min(near, key=lambda one: (one.cost.bytes_per_token_on_disk, -one.bytes_per_token, one.vocab_size))
    growth = None
    if chosen.vocab_size < LARGE_VOCABULARY:
        growth = Growth(chosen.cost, cost(LARGE_VOCABULARY, model_1b()))
    return Choice(ranked, unranked, chosen, growth)
