"""Whether the intervals hold what they promise: on numbers whose truth is known."""

import itertools
import math
import random
import statistics

import pytest
from scipy import stats

from megatron_recipe.lab.intervals import Difference, difference, mean_of

SEEDS = (1, 2, 3)
REPETITIONS = 1000


def scattered(generator: random.Random, mean: float, spread: float, seeds: tuple[int, ...]) -> dict[int, float]:
    """Losses of a setting's runs."""
    return {seed: generator.gauss(mean, spread) for seed in seeds}


def one_pair(a: dict[int, float], b: dict[int, float], confidence: float = 0.95) -> Difference:
    found = difference(a, b, confidence, pairs=1)
    assert found is not None
    return found


def test_shared_seeds_are_compared_seed_by_seed() -> None:
    a, b = {1: 5.0, 2: 6.0, 3: 7.0}, {1: 5.1, 2: 6.12, 3: 7.11}
    found = one_pair(a, b)
    expected = stats.ttest_rel(list(a.values()), list(b.values())).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.paired and found.seeds == 3
    assert found.shown  # the seeds differ by 1 and the settings by 0.1: only pairing sees it
    assert not one_pair(a, {4: 5.1, 5: 6.12, 6: 7.11}).shown


def test_other_seeds_are_compared_as_groups_of_unequal_spread() -> None:
    a, b = {1: 5.0, 2: 5.2, 3: 5.1}, {4: 5.9, 5: 4.1, 6: 5.0, 7: 5.3}
    found = one_pair(a, b, 0.99)
    expected = stats.ttest_ind(list(a.values()), list(b.values()), equal_var=False).confidence_interval(0.99)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert not found.paired and found.seeds == 3


def test_one_run_has_no_spread() -> None:
    assert difference({1: 5.0}, {1: 4.0}, 0.95, 1) is None
    assert difference({1: 5.0}, {2: 4.0}, 0.95, 1) is None
    assert difference({1: 5.0, 2: 5.1}, {3: 4.0}, 0.95, 1) is None
    alone = mean_of([5.0], 0.95)
    assert alone is not None and (alone.mean, alone.low, alone.high, alone.count) == (5.0, None, None, 1)
    assert mean_of([], 0.95) is None


def test_equal_runs_differ_by_nothing() -> None:
    same = {1: 5.0, 2: 6.0}
    assert not one_pair(same, dict(same)).shown
    assert not one_pair({1: 5.0, 2: 5.0}, {3: 5.0, 4: 5.0}).shown


def test_the_interval_of_a_mean_is_students() -> None:
    values = [5.0, 5.3, 5.1, 5.2]
    found = mean_of(values, 0.9)
    low, high = stats.t.interval(0.9, 3, statistics.fmean(values), statistics.stdev(values) / math.sqrt(4))
    assert found is not None and (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("other_seeds", [SEEDS, (4, 5, 6)], ids=["shared seeds", "other seeds"])
def test_identical_settings_seldom_seem_to_differ(other_seeds: tuple[int, ...]) -> None:
    """At 99 %, in no more than 1 of 100: with the expected scatter of the count, and no more than that."""
    generator = random.Random(7)
    wrong = sum(
        one_pair(scattered(generator, 5, 0.1, SEEDS), scattered(generator, 5, 0.1, other_seeds), 0.99).shown
        for _ in range(REPETITIONS)
    )
    assert wrong <= 0.01 * REPETITIONS + 3 * math.sqrt(0.01 * REPETITIONS)
    assert wrong > 0 or other_seeds != SEEDS  # an interval that is never wrong is too wide


@pytest.mark.parametrize("other_seeds", [SEEDS, (4, 5, 6)], ids=["shared seeds", "other seeds"])
def test_a_planted_difference_is_found(other_seeds: tuple[int, ...]) -> None:
    """One of 12 standard deviations, as of a learning rate that is off by a factor: nearly always."""
    generator = random.Random(8)
    found = sum(
        one_pair(scattered(generator, 5, 0.1, SEEDS), scattered(generator, 6.2, 0.1, other_seeds), 0.99).shown
        for _ in range(200)
    )
    assert found >= 180


def test_the_intervals_of_all_pairs_hold_at_once() -> None:
    """Of five equal settings, each of ten pairs at 95 % for itself would often show something."""
    generator, settings, confidence = random.Random(9), 5, 0.95
    pairs = list(itertools.combinations(range(settings), 2))
    wrong, wrong_uncorrected = 0, 0
    for _ in range(REPETITIONS // 2):
        runs = [scattered(generator, 5, 0.1, SEEDS) for _ in range(settings)]
        wrong += any(difference(runs[a], runs[b], confidence, len(pairs)).shown for a, b in pairs)  # type: ignore[union-attr]
        wrong_uncorrected += any(one_pair(runs[a], runs[b]).shown for a, b in pairs)
    assert wrong <= 0.05 * REPETITIONS / 2 + 3 * math.sqrt(0.05 * REPETITIONS / 2)
    assert wrong_uncorrected > 0.2 * REPETITIONS / 2  # what the correction is there for
