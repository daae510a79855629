"""What a run reads: samples of its mix, batched for each rank in the order that `mix` and `sample_order` fix.

A batch depends on its step and its position alone: not on ranks, micro-batch, reading processes, or on how many
samples the run asks for. A run that is continued, resized or rolled back therefore goes on with the very next sample.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from megatron_recipe.batch_schedule import samples_before, total_samples
from megatron_recipe.config import Config, SampleRange
from megatron_recipe.corpus import Corpus, Sample
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.loader_workers import dead_worker, dead_workers_are_an_error, outlive_sigterm
from megatron_recipe.mix import Mix, Place, corpus_paths, mix_of
from megatron_recipe.parallel import Ranks
from megatron_recipe.sample_order import advance, rank_positions

Batch = dict[str, torch.Tensor]
INDEX_CACHE = "index_cache"
FIELDS = ("tokens", "labels", "loss_mask", "position_ids")


@dataclass(frozen=True)
class TrainingData(Dataset[Sample]):
    """The mix and its corpora: what a position of the data's order holds."""

    mix: Mix
    corpora: list[Corpus]

    def __getitem__(self, place: Place) -> Sample:
        """A sample by its corpus and its position there."""
        corpus, position = place
        return self.corpora[corpus][position]

    def prepare(self, first: int, stop: int) -> None:
        """Have the index files ready that positions `first` to `stop` - 1 need.

        Whatever a run reads beyond them (it skips samples, it has a budget) is built when it is reached.
        """
        ends = zip(self.corpora, self.mix.drawn(first), self.mix.drawn(stop), strict=True)
        for corpus, begins, end in ends:
            corpus.prepare(begins, end)


def open_corpus(folder: str, split: str, config: Config, cache: Path) -> Corpus:
    """A split of a dataset folder.

    cache: the run's folder of index files; those beside the dataset, where `data cache` puts them, are taken first.
    """
    facts = read_dataset_facts(Path(folder))
    return Corpus(facts, split, config, (facts.folder / INDEX_CACHE, cache))


def build_mix(config: Config, cache: Path) -> TrainingData:
    """The data that a run trains on; index files are built in `cache` when they are needed.

    Raises DataError for a dataset that is missing, damaged, or too short for one sample.
    """
    return TrainingData(mix_of(config), [open_corpus(path, "train", config, cache) for path in corpus_paths(config)])


def train_batches(
    data: TrainingData, position: int, step: int, skips: Sequence[SampleRange], config: Config, ranks: Ranks
) -> Generator[Batch]:
    """This rank's micro-batches on its device from `position` and `step` (0 is the first) on, without end.

    Reading ahead changes nothing that a run must remember: after a step the position is
    `sample_order.advance(position, batch_size_at(config.batch, step), skips)`. `close()` ends the reading processes.

    Raises:
        MachineError: a reading process died, or gave nothing for half of `parallel.timeout_seconds`.
    """
    ahead = max(0, total_samples(config) - samples_before(config.batch, step))
    data.prepare(position, advance(position, ahead, skips))
    positions = rank_positions(position, step, skips, config.batch, ranks.data_rank, ranks.data_size)
    places = ([data.mix.locate(one) for one in micro_batch] for micro_batch in positions)
    return load_batches(data, places, config, ranks)


def load_batches(
    dataset: Dataset[Sample], micro_batches: Iterator[list[Any]], config: Config, ranks: Ranks
) -> Generator[Batch]:
    """Micro-batches of `dataset` on this rank's device; `micro_batches` yields the keys of each."""
    workers = config.data.num_workers
    loader = DataLoader(
        dataset,
        batch_sampler=micro_batches,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=ranks.device.type == "cuda",
        # less than the ranks wait for one another: the rank without data must speak first
        timeout=max(1, config.parallel.timeout_seconds // 2) if workers else 0,
        worker_init_fn=outlive_sigterm if workers else None,
        generator=torch.Generator(),  # its own: otherwise each loader draws a number from the run's random state
    )
    with dead_workers_are_an_error():
        try:
            for batch in loader:
                yield {name: tensor.to(ranks.device, non_blocking=True) for name, tensor in batch.items()}
        except (ConnectionError, EOFError) as error:
            # what the death of a worker looks like while it hands a batch over
            raise dead_worker(f"DataLoader worker: {error}") from error


def collate(samples: list[Sample]) -> Batch:
    """One micro-batch: tensors of [micro_batch, length].

    With document masking, `cu_seqlens` is [documents + 1], int32: where documents begin in the micro-batch laid end
    to end, and its end.
    """
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in FIELDS}
    if "cu_seqlens" in samples[0]:
        length = samples[0]["tokens"].numel()
        begins = [sample["cu_seqlens"].unique()[:-1] + number * length for number, sample in enumerate(samples)]
        end = torch.tensor([len(samples) * length])
        batch["cu_seqlens"] = torch.cat([*begins, end]).to(torch.int32)
    return batch
