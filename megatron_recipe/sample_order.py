"""Which positions of the data's order a step takes, and which of them one rank does.

A step takes the next positions that are not skipped; the ranks share them by whole micro-batches, in turn. So the
samples of a step are the same for any number of ranks and any micro-batch, and a position is all that a run must
remember to go on with the very next sample.
"""

import itertools
from collections.abc import Iterator, Sequence

from megatron_recipe.batch_schedule import batch_size_at
from megatron_recipe.config import BatchConfig, SampleRange


def next_positions(position: int, count: int, skips: Sequence[SampleRange]) -> list[int]:
    """The first `count` positions from `position` on that no skip covers, in order."""
    taken: list[int] = []
    for first, stop in _in_order(skips):
        free = range(position, min(first, position + count - len(taken)))
        taken.extend(free)
        if len(taken) == count:
            return taken
        position = max(position, stop)
    return [*taken, *range(position, position + count - len(taken))]


def advance(position: int, count: int, skips: Sequence[SampleRange]) -> int:
    """The position after `count` samples that no skip covers: one behind the last that was taken."""
    for first, stop in _in_order(skips):
        free = max(0, first - position)
        if count <= free:
            return position + count
        if stop > position:
            count -= free
            position = stop
    return position + count


def _in_order(skips: Sequence[SampleRange]) -> list[tuple[int, int]]:
    return sorted((skip.first, skip.stop) for skip in skips)


def rank_positions(
    position: int, step: int, skips: Sequence[SampleRange], batch: BatchConfig, data_rank: int, data_size: int
) -> Iterator[list[int]]:
    """The micro-batches of one data-parallel rank from `step` (0 is the first) and `position` on, without end.

    In each global batch, rank r's m-th micro-batch is the (m × ranks + r)-th.
    """
    for current in itertools.count(step):
        size = batch_size_at(batch, current)
        positions = next_positions(position, size, skips)
        yield from _share(positions, batch.micro_batch, data_rank, data_size)
        position = positions[-1] + 1


def rank_held_out(
    samples: int, micro_batch: int, data_rank: int, data_size: int, multiple: int = 1
) -> Iterator[list[int | None]]:
    """One rank's micro-batches of samples 0 to `samples` - 1, filled up with None so that all ranks have equally many.

    None stands for a sample without loss: the samples of a validation don't depend on ranks and micro-batch.

    multiple: of how many micro-batches their number is to be one.
    """
    at_once = micro_batch * data_size * multiple
    filling: list[int | None] = [None] * (-samples % at_once)
    yield from _share([*range(samples), *filling], micro_batch, data_rank, data_size)


def _share[Item](items: list[Item], micro_batch: int, data_rank: int, data_size: int) -> Iterator[list[Item]]:
    for start in range(data_rank * micro_batch, len(items), data_size * micro_batch):
        yield items[start : start + micro_batch]
