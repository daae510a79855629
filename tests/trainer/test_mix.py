"""Mixes: drawn in their proportions, extended without a change, and no sample lost or repeated where phases meet."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_recipe.config import Config
from megatron_recipe.mix import Blend, Mix, Phase, changed_order, corpus_paths, mix_of, phase_problems
from megatron_recipe.recipes import load_config

WEIGHTS = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=5)


@given(weights=WEIGHTS, samples=st.integers(1, 3000))
def test_drawn_shares_are_the_weights(weights, samples):
    """A sampling by chance would be off by the square root of the samples; this one is by less than a sample each."""
    counts = Blend(weights).counts(samples)
    assert sum(counts) == samples
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - samples * weight / sum(weights)) <= len(weights)


@pytest.mark.parametrize("weights", [(1,), (1, 1), (0.7, 0.2, 0.1), (5, 3, 1, 1), (100, 1)])
def test_shares_hold_in_every_stretch(weights):
    mix = Mix([Phase(0, dict(enumerate(weights)))], len(weights))
    for begin in (0, 777, 5000):
        drawn = Counter(mix.locate(position)[0] for position in range(begin, begin + 1000))
        for corpus, weight in enumerate(weights):
            assert drawn[corpus] == pytest.approx(1000 * weight / sum(weights), abs=len(weights))


@given(weights=WEIGHTS, first=st.integers(0, 200), more=st.integers(1, 20_000))
def test_asking_for_more_changes_nothing_before(weights, first, more):
    """20,000 is beyond what a blend computes at once, so that it has to grow."""
    short, grown = Blend(weights), Blend(weights)
    before = [grown.at(sample) for sample in range(first)]
    grown.at(first + more)
    assert [grown.at(sample) for sample in range(first)] == before == [short.at(sample) for sample in range(first)]


PHASES = [
    Phase(0, {0: 3.0, 1: 1.0}),
    Phase(101, {1: 2.0, 2: 1.0}),
    Phase(250, {0: 1.0, 1: 1.0, 2: 5.0}),
    Phase(251, {0: 1.0}),
]


@pytest.mark.parametrize("count", range(1, len(PHASES) + 1))
def test_a_change_of_phase_repeats_and_loses_no_sample(count):
    mix = Mix(PHASES[:count], 3)
    places = [mix.locate(position) for position in range(600)]
    for corpus in range(3):
        numbers = [number for drawn, number in places if drawn == corpus]
        assert numbers == list(range(len(numbers)))


@given(st.integers(0, 600))
def test_what_is_drawn_before_a_position_is_counted(position):
    mix = Mix(PHASES, 3)
    counts = Counter(mix.locate(one)[0] for one in range(position))
    assert mix.drawn(position) == [counts[corpus] for corpus in range(3)]


def test_a_later_phase_changes_nothing_before_it():
    mixes = [Mix(PHASES[:count], 3) for count in (2, 3, 4)]
    assert len({tuple(mix.locate(position) for position in range(250)) for mix in mixes}) == 1
    assert mixes[0].locate(250) != mixes[1].locate(250) or mixes[0].locate(251) != mixes[1].locate(251)


def configured(first: str = "[{path: a, weight: 3}, {path: b}]", phases: str = "[]", *overrides: str) -> Config:
    fixed = ("batch.global_batch_size_samples=16", "train.steps=100")
    return load_config("gpt_tiny_cpu", (*fixed, f"data.datasets={first}", f"data.phases={phases}", *overrides))


def phases(*steps: int) -> str:
    return "[" + ", ".join(f"{{from_step: {step}, datasets: [{{path: c}}, {{path: b}}]}}" for step in steps) + "]"


def test_phases_begin_with_the_samples_of_their_steps():
    mix = mix_of(configured("[{path: a}]", phases(10)))
    assert {mix.locate(position)[0] for position in range(160)} == {0}
    assert {mix.locate(position)[0] for position in range(160, 200)} == {1, 2}
    ramp = ("batch.ramp_up_from_samples=8", "batch.ramp_up_increment_samples=8", "batch.ramp_up_steps=10")
    assert mix_of(configured("[{path: a}]", phases(10), *ramp)).phases[1].first == 80


def test_corpora_are_numbered_as_they_appear_and_double_mentions_add_up():
    config = configured("[{path: b, weight: 1}, {path: a, weight: 2}, {path: b, weight: 3}]", phases(5))
    assert corpus_paths(config) == ["b", "a", "c"]
    assert [phase.weights for phase in mix_of(config).phases] == [{0: 4.0, 1: 2.0}, {2: 1.0, 0: 1.0}]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((20, 10), "data.phases.1.from_step=10 must be greater than the step of the phase before it, 20"),
        ((10, 10), "data.phases.1.from_step=10 must be greater"),
        ((10, 100), "data.phases.1.from_step=100 must be less than train.steps=100"),
    ],
)
def test_phases_out_of_order_are_named(steps, said):
    assert [problem[: len(said)] for problem in phase_problems(configured(phases=phases(*steps)))] == [said]


def test_phases_in_order_break_no_rule():
    assert list(phase_problems(configured(phases=phases(10, 99)))) == []
    assert list(phase_problems(configured("[{path: a}]", phases(200), "budget.amount=5"))) == []


FIRST = "[{path: a, weight: 3}, {path: b}]"


@pytest.mark.parametrize(
    ("now", "field"),
    [
        (configured("[{path: a, weight: 2}, {path: b}]", phases(10)), "data.datasets and data.phases"),
        (configured("[{path: b}, {path: a, weight: 3}]", phases(10)), "data.datasets and data.phases"),
        (configured(FIRST, phases(9)), "data.datasets and data.phases"),
        (configured(FIRST, phases(11)), "data.datasets and data.phases"),
        (configured(FIRST), "data.datasets and data.phases"),
        (configured(FIRST, phases(10), "data.seed=7"), "data.seed"),
        (configured(FIRST, phases(10), "model.sequence_length_tokens=128"), "model.sequence_length_tokens"),
    ],
)
def test_a_change_of_the_past_is_named(now, field):
    changed = changed_order(configured(FIRST, phases(10)), now, 161)
    assert [line.partition(":")[0] for line in changed] == [field]
    assert changed_order(configured(FIRST, phases(10)), now, 0) == []  # nothing was trained on yet


def test_what_comes_later_may_change():
    before = configured(FIRST, phases(10))
    for now in (configured(FIRST), configured(FIRST, phases(12)), configured(FIRST, phases(10, 20))):
        assert changed_order(before, now, 160) == []
    assert changed_order(before, configured("[{path: a, weight: 6}, {path: b, weight: 2}]", phases(10)), 500) == []
    assert changed_order(before, configured(FIRST, phases(10), "train.steps=500"), 500) == []


def test_equal_orders_are_what_is_called_equal():
    """What `changed_order` accepts draws the same samples, and what it refuses does not."""
    configs = [
        configured(FIRST, phases(10)),
        configured(FIRST),
        configured(FIRST, phases(11)),
        configured("[{path: a}]"),
    ]
    for (one, other), position in itertools.product(itertools.product(configs, configs), (1, 100, 161, 300)):
        equal = [mix_of(one).locate(n) for n in range(position)] == [mix_of(other).locate(n) for n in range(position)]
        assert (changed_order(one, other, position) == []) <= equal
        if position > 1:
            assert (changed_order(one, other, position) == []) == equal


def test_a_moved_dataset_is_the_same_by_its_checksum():
    before, moved = configured("[{path: a}]"), configured("[{path: elsewhere/a}]")
    assert changed_order(before, moved, 100, {"a": "1" * 64, "elsewhere/a": "1" * 64}) == []
    assert changed_order(before, moved, 100, {"a": "1" * 64, "elsewhere/a": "2" * 64}) != []
    assert changed_order(before, moved, 100) != []
