"""Held-out loss during training: the sets it is measured on, always the same samples of each, and the measure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallel
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch.utils.data import Dataset

from megatron_recipe import data, parallel
from megatron_recipe.config import Config, DatasetWeight
from megatron_recipe.corpus import Corpus, Sample
from megatron_recipe.document_mask import schedule_shape
from megatron_recipe.forward_step import forward_step
from megatron_recipe.mix import Blend, Place
from megatron_recipe.sample_order import rank_held_out

CANDIDATES = 64
"""Places looked at for each sample: a split that is used up is passed over, and its share may be nearly all."""


@dataclass(frozen=True)
class HeldOutSet(Dataset[Sample]):
    """Samples to measure on, by their numbers from 0; the same ones over the whole run."""

    name: str
    """`validation` for the mix's own, else `validation/NAME`."""
    corpora: list[Corpus]
    places: list[Place]
    bytes_per_token: float
    """UTF-8 bytes of text for each token, over these samples' corpora: turns nats per token into bits per byte."""
    parts: tuple["HeldOutSet", ...] = ()
    """The same samples by the dataset they come from, where that is more than one."""

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.places)

    def __getitem__(self, number: int | None) -> Sample:
        """A sample; None is one without loss, which fills up a batch."""
        if number is None:
            return self.corpora[0].without_loss()
        corpus, position = self.places[number]
        return self.corpora[corpus][position]


def held_out_sets(config: Config, cache: Path) -> list[HeldOutSet]:
    """The mix's own set and those of `data.validation_sets`: `train.validation_samples` of each, or what it holds.

    The mix's own has the weights of the first phase, so that the measure stays the same over all phases; where the mix
    has several datasets, it has a part for each. Empty where
    `train.validation_samples` is 0. `cache` is the run's folder of index files.
    """
    if not config.train.validation_samples:
        return []
    named = [(f"validation/{entry.name}", [DatasetWeight(path=entry.path)]) for entry in config.data.validation_sets]
    own = _held_out("validation", config.data.datasets, config, cache)
    return [
        replace(own, parts=_parts(own, part_names(config))),
        *(_held_out(name, datasets, config, cache) for name, datasets in named),
    ]


def part_names(config: Config) -> list[str]:
    """What the mix's datasets are called in records: by their folders, and in full where that could be mistaken."""
    paths = [dataset.path for dataset in config.data.datasets]
    taken = [Path(path).name for path in dict.fromkeys(paths)] + [entry.name for entry in config.data.validation_sets]
    return [Path(path).name if taken.count(Path(path).name) == 1 else path for path in paths]


def _parts(whole: HeldOutSet, names: list[str]) -> tuple[HeldOutSet, ...]:
    """The samples of each dataset that has any; nothing where all are of one."""
    by_name: dict[str, list[tuple[int, int]]] = {}  # a dataset may stand in the mix twice
    for place in whole.places:
        by_name.setdefault(names[place[0]], []).append(place)
    if len(by_name) < 2:
        return ()
    ordered = {name: by_name[name] for name in names if name in by_name}
    return tuple(
        HeldOutSet(
            f"validation/{name}",
            whole.corpora,
            places,
            whole.corpora[places[0][0]].facts.bytes_per_token("validation"),
        )
        for name, places in ordered.items()
    )


def _held_out(name: str, datasets: list[DatasetWeight], config: Config, cache: Path) -> HeldOutSet:
    corpora = [data.open_corpus(dataset.path, "validation", config, cache) for dataset in datasets]
    blend, wanted = Blend([dataset.weight for dataset in datasets]), config.train.validation_samples
    available = sum(corpus.samples_per_epoch for corpus in corpora)
    most = min(wanted, available * CANDIDATES) * CANDIDATES
    candidates = (blend.at(number) for number in range(most))
    held = ((corpus, sample) for corpus, sample in candidates if sample < corpora[corpus].samples_per_epoch)
    places = list(islice(held, min(wanted, available)))
    for corpus in corpora:
        corpus.prepare(0, 1)
    bytes_per_token = sum(corpora[corpus].facts.bytes_per_token("validation") for corpus, _ in places) / len(places)
    return HeldOutSet(name, corpora, places, bytes_per_token)


def reduce_losses(outputs: list[dict[str, Any]], device: torch.device) -> torch.Tensor:
    """Loss sum and token count over all micro-batches and ranks, [2]; `outputs` is empty off the last stage."""
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for output in outputs:
        total += output["loss"].double()
    return parallel.sum_over_data_and_pipeline(total)


def data_iterators(batches: Iterator[data.Batch], model: list[Any]) -> Any:
    """What Megatron's schedules want: one iterator, or one for each virtual pipeline stage over the same batches."""
    if len(model) == 1:
        return batches
    kept = list(batches)
    return [iter(kept) for _ in model]


def validation_losses(
    model: list[DistributedDataParallel], held_out: HeldOutSet, config: Config, ranks: parallel.Ranks
) -> list[tuple[HeldOutSet, float]]:
    """Mean loss over a held-out set and over each of its parts, in nats a token."""
    measured = held_out.parts or (held_out,)
    totals = [loss_totals(model, one, config, ranks) for one in measured]
    whole = sum(loss for loss, _ in totals) / sum(tokens for _, tokens in totals)
    parts = zip(held_out.parts, (loss / tokens for loss, tokens in totals), strict=False)
    return [(held_out, whole), *parts]


def loss_totals(
    model: list[DistributedDataParallel], held_out: HeldOutSet, config: Config, ranks: parallel.Ranks
) -> tuple[float, float]:
    """Sum of the token losses over a held-out set, in nats, and their number.

    The samples are the same for any number of ranks and any micro-batch: what is missing to a whole micro-batch of
    each rank is filled up with samples that have no loss; interleaved stages want as many micro-batches as there are
    stages, or a multiple.
    """
    layout = config.parallel
    share = (config.batch.micro_batch, ranks.data_rank, ranks.data_size)
    multiple = layout.pipeline if parallel.virtual_stages(config) else 1
    micro_batches = list(rank_held_out(held_out.samples, *share, multiple))
    batches = data.load_batches(held_out, iter(micro_batches), config, ranks)
    for chunk in model:
        chunk.eval()
    with torch.no_grad():
        outputs = get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=data_iterators(batches, model),
            model=model,
            num_microbatches=len(micro_batches),
            **schedule_shape(config),
            forward_only=True,
        )
    batches.close()
    for chunk in model:
        chunk.train()
    loss_sum, tokens = reduce_losses(outputs, ranks.device).tolist()
    return loss_sum, tokens
