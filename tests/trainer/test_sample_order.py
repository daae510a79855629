"""Which positions a step takes: the same for any number of ranks, from any position, skips left out exactly."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_recipe.batch_schedule import batch_size_at
from megatron_recipe.config import BatchConfig, SampleRange
from megatron_recipe.sample_order import advance, next_positions, rank_held_out, rank_positions

RAMP = {"ramp_up_from_samples": 24, "ramp_up_increment_samples": 24, "ramp_up_steps": 4}
SKIPS = st.lists(
    st.builds(
        lambda first, length: SampleRange(first=first, stop=first + length), st.integers(0, 120), st.integers(1, 40)
    ),
    max_size=4,
)


def unskipped(position: int, count: int, skips: list[SampleRange]) -> list[int]:
    """The plainest way to say it."""
    free = (n for n in itertools.count(position) if not any(skip.first <= n < skip.stop for skip in skips))
    return list(itertools.islice(free, count))


def global_batches(
    position: int, step: int, steps: int, skips: list[SampleRange], micro_batch: int, size: int, **ramp: int
) -> list[list[int]]:
    """The positions of each global batch, gathered from all ranks, in the order of ranks."""
    batch = BatchConfig(global_batch_size_samples=72, micro_batch_size_samples=micro_batch, **ramp)
    streams = [rank_positions(position, step, skips, batch, rank, size) for rank in range(size)]
    found = []
    for current in range(step, step + steps):
        count = batch_size_at(batch, current) // (micro_batch * size)
        micro_batches = [micro for stream in streams for micro in itertools.islice(stream, count)]
        assert {len(micro) for micro in micro_batches} == {micro_batch}
        found.append([one for micro in micro_batches for one in micro])
    return found


@given(st.integers(0, 150), st.integers(0, 100), SKIPS)
def test_the_next_positions_are_those_that_no_skip_covers(position, count, skips):
    assert next_positions(position, count, skips) == unskipped(position, count, skips)


@given(st.integers(0, 150), st.integers(1, 100), st.integers(1, 100), SKIPS)
def test_going_on_from_the_advanced_position_takes_the_very_next_samples(position, first, second, skips):
    at = advance(position, first, skips)
    assert at == unskipped(position, first, skips)[-1] + 1
    assert unskipped(position, first + second, skips)[first:] == next_positions(at, second, skips)
    assert advance(at, second, skips) == advance(position, first + second, skips)


def test_no_sample_is_no_move():
    assert advance(5, 0, [SampleRange(first=3, stop=9)]) == 5


@pytest.mark.parametrize("ramp", [{}, RAMP])
@given(position=st.integers(0, 60), step=st.integers(0, 3), skips=SKIPS)
def test_any_layout_takes_the_samples_of_one_rank(ramp, position, step, skips):
    plain = global_batches(position, step, 6, skips, 24, 1, **ramp)
    taken = [one for batch in plain for one in batch]
    assert taken == unskipped(position, len(taken), skips)
    for micro_batch, size in ((1, 1), (12, 2), (4, 2), (6, 4), (3, 8)):
        assert [sorted(ids) for ids in global_batches(position, step, 6, skips, micro_batch, size, **ramp)] == plain


@given(before=st.integers(1, 5), skips=SKIPS)
def test_a_run_continued_on_other_ranks_takes_the_samples_of_one_that_was_not(before, skips):
    whole = global_batches(0, 0, before + 3, skips, 12, 2, **RAMP)
    position = 0
    for batch in whole[:before]:
        position = advance(position, len(batch), skips)
    continued = global_batches(position, before, 3, skips, 6, 4, **RAMP)
    assert [sorted(ids) for ids in continued] == [sorted(ids) for ids in whole[before:]]


def test_ranks_take_micro_batches_in_turn():
    batch = BatchConfig(global_batch_size_samples=8, micro_batch_size_samples=2)
    first, second = (list(itertools.islice(rank_positions(0, 0, [], batch, rank, 2), 2)) for rank in range(2))
    assert (first, second) == ([[0, 1], [4, 5]], [[2, 3], [6, 7]])


@given(
    samples=st.integers(1, 40),
    micro_batch=st.integers(1, 5),
    size=st.integers(1, 4),
    multiple=st.sampled_from([1, 2, 3]),
)
def test_a_validation_has_its_samples_once_and_equally_many_micro_batches_a_rank(samples, micro_batch, size, multiple):
    shares = [list(rank_held_out(samples, micro_batch, rank, size, multiple)) for rank in range(size)]
    (micro_batches,) = {len(share) for share in shares}
    assert micro_batches % multiple == 0
    keys = [key for share in shares for micro in share for key in micro]
    assert {len(micro) for share in shares for micro in share} == {micro_batch}
    assert sorted(key for key in keys if key is not None) == list(range(samples))
    assert keys.count(None) < micro_batch * size * multiple
