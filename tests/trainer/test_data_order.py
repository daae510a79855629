"""Which samples a step takes: the same for any number of ranks, from any position, none lost and none repeated."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from megatron_recipe.data import ConsumedSamplesSampler
from megatron_recipe.parallel import Ranks


def ranks_of(size: int) -> list[Ranks]:
    return [Ranks(rank, size, rank, size, torch.device("cpu")) for rank in range(size)]


def global_batches(total: int, consumed: int, micro_batch: int, size: int, batch: int) -> list[list[int]]:
    """The ids of each global batch, gathered from all ranks."""
    per_step = batch // (micro_batch * size)
    streams = [list(ConsumedSamplesSampler(total, consumed, micro_batch, ranks)) for ranks in ranks_of(size)]
    assert len({len(stream) for stream in streams}) == 1, "ranks take equally many micro-batches"
    steps = range(0, len(streams[0]), per_step)
    return [
        [sample for stream in streams for micro in stream[step : step + per_step] for sample in micro] for step in steps
    ]


@given(
    steps=st.integers(1, 6),
    consumed=st.integers(0, 1000),
    micro_batch=st.integers(1, 5),
    size=st.integers(1, 8),
    accumulation=st.integers(1, 4),
)
def test_each_global_batch_is_the_next_samples(steps, consumed, micro_batch, size, accumulation):
    batch = micro_batch * size * accumulation
    found = global_batches(consumed + steps * batch, consumed, micro_batch, size, batch)
    expected = [list(range(consumed + step * batch, consumed + (step + 1) * batch)) for step in range(steps)]
    assert [sorted(ids) for ids in found] == expected


@given(
    steps=st.integers(1, 5),
    consumed_steps=st.integers(0, 5),
    layouts=st.permutations([(1, 24), (2, 6), (3, 4), (8, 1)]),
)
def test_a_run_continued_on_other_ranks_takes_the_samples_of_one_that_was_not(steps, consumed_steps, layouts):
    (size, micro_batch), (other_size, other_micro_batch) = layouts[:2]
    batch, total = 24, (consumed_steps + steps) * 24
    whole = global_batches(total, 0, micro_batch, size, batch)
    continued = global_batches(total, consumed_steps * batch, other_micro_batch, other_size, batch)
    assert [sorted(ids) for ids in whole[consumed_steps:]] == [sorted(ids) for ids in continued]


def test_ranks_interleave_their_micro_batches():
    first, second = (list(ConsumedSamplesSampler(8, 0, 2, ranks)) for ranks in ranks_of(2))
    assert (first, second) == ([[0, 1], [4, 5]], [[2, 3], [6, 7]])


@pytest.mark.parametrize("consumed", [8, 9])
def test_nothing_is_left_after_the_last_sample(consumed):
    assert list(ConsumedSamplesSampler(8, consumed, 2, ranks_of(1)[0])) == []
