"""Datasets of a run: Megatron's GPTDataset over prepared folders, read in an order fixed by consumed samples.

Step s of a run always takes samples [s × B, (s + 1) × B) of the shuffled order, whatever the number of ranks and the
micro-batch, so a resumed or resized run continues with the very next sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from torch.utils.data import DataLoader, Sampler

from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.parallel import Ranks

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class DatasetTokenizer:
    """What GPTDataset asks of a tokenizer; the text was tokenized when the dataset was made."""

    vocab_size: int
    eod: int
    unique_identifiers: dict[str, Any] = field(default_factory=dict)


def build_datasets(config: Config, facts: list[DatasetFacts], cache: Path) -> tuple[GPTDataset, GPTDataset | None]:
    """Training and validation samples; `cache` takes Megatron's index files (first rank builds, the others wait).

    Items are dicts of `tokens`, `labels`, `loss_mask` and `position_ids`, each [sequence_length_tokens].
    """
    prefixes = {split: [str(fact.prefix(split)) for fact in facts] for split in ("train", "validation")}
    weights = None if len(facts) == 1 else [dataset.weight for dataset in config.data.datasets]
    train_samples = config.train.steps * config.batch.global_batch_size_samples
    held_out = held_out_samples(config, facts)
    train, validation, _ = BlendedMegatronDatasetBuilder(
        GPTDataset,
        [train_samples, held_out, 0],
        lambda: True,
        GPTDatasetConfig(
            random_seed=config.data.seed,
            sequence_length=config.model.sequence_length_tokens,
            blend_per_split=[
                (prefixes["train"], weights),
                (prefixes["validation"], weights) if held_out else None,
                None,
            ],
            path_to_cache=str(cache),
            tokenizer=DatasetTokenizer(facts[0].vocab_size, facts[0].eod_id),
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            create_attention_mask=False,
        ),
    ).build()
    return train, validation


def held_out_samples(config: Config, facts: list[DatasetFacts]) -> int:
    """Samples of one validation: as many as asked for and held by the split, without repeating one."""
    available = sum((fact.tokens("validation") - 1) // config.model.sequence_length_tokens for fact in facts)
    return min(config.train.validation_samples, available)


class ConsumedSamplesSampler(Sampler[list[int]]):
    """Micro-batches of one data-parallel rank, from sample `consumed` to the last.

    In each global batch the ranks interleave: rank r's m-th micro-batch starts at (m × ranks + r) × micro-batch.
    The samples of a global batch are therefore the same for any number of ranks.
    """

    def __init__(self, total: int, consumed: int, micro_batch_size: int, ranks: Ranks) -> None:
        self.total, self.consumed, self.micro_batch_size = total, consumed, micro_batch_size
        self.offset = ranks.data_rank * micro_batch_size
        self.stride = ranks.data_size * micro_batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(self.consumed + self.offset, self.total, self.stride):
            yield list(range(start, start + self.micro_batch_size))


def micro_batches(dataset: GPTDataset, total: int, consumed: int, config: Config, ranks: Ranks) -> Iterator[Batch]:
    """This rank's micro-batches of samples [consumed, total) on its device; tensors are [micro_batch, length]."""
    loader = DataLoader(
        dataset,
        batch_sampler=ConsumedSamplesSampler(total, consumed, config.batch.micro_batch, ranks),
        num_workers=config.data.num_workers,
        pin_memory=ranks.device.type == "cuda",
        persistent_workers=False,
    )
    for batch in loader:
        yield {name: tensor.to(ranks.device, non_blocking=True) for name, tensor in batch.items()}
