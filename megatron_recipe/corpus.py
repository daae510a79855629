"""A corpus: one split of a dataset as a sequence of samples without end, epoch after epoch.

Each epoch is a Megatron GPTDataset of exactly one pass, shuffled by `data.seed` + its number. Megatron itself lays all
epochs of a run out at once, so that asking for more samples shuffles all of them anew; here a sample's place depends
on nothing but its position.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.core.datasets.gpt_dataset import GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDataset

from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.epoch_index import Epoch, IndexName
from megatron_recipe.errors import DataError

Sample = dict[str, torch.Tensor]
OPEN_EPOCHS = 8
"""Held at a time: each is three mapped files, of which a process may have some hundreds."""
PREPARED_EPOCHS = 16
"""Ahead of a run: where there are more, the text is short and an index built in a moment, when it is needed."""


@dataclass(frozen=True)
class DatasetTokenizer:
    """What GPTDataset asks of a tokenizer; the text was tokenized when the dataset was made."""

    vocab_size: int
    eod: int
    unique_identifiers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DocumentPart:
    """Tokens `first` to `stop` - 1 of a document, by its number in the .idx file."""

    document: int
    first: int
    stop: int


class Corpus:
    """One split of a dataset.

    Args:
        caches: folders where index files may stand; they are built in the last.

    Raises:
        DataError: the split has not one sample.
    """

    def __init__(self, facts: DatasetFacts, split: str, config: Config, caches: Sequence[Path]) -> None:
        self.facts, self.split, self.caches = facts, split, caches
        self.samples_per_epoch = facts.samples(split, config.model.sequence_length_tokens)
        if not self.samples_per_epoch:
            raise DataError(
                f"{facts.prefix(split)}.bin: its {facts.tokens(split)} tokens are less than one sample of "
                f"model.sequence_length_tokens={config.model.sequence_length_tokens}; prepare more text or shorten "
                "the samples"
            )
        self._seed = config.data.seed
        self._config = GPTDatasetConfig(
            random_seed=config.data.seed,
            sequence_length=config.model.sequence_length_tokens,
            blend_per_split=[([str(facts.prefix(split))], None), None, None],
            tokenizer=DatasetTokenizer(facts.vocab_size, facts.eod_id),
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            create_attention_mask=False,
            inter_document_masking=config.data.mask_between_documents,
        )
        self._epochs: dict[int, Epoch] = {}

    @cached_property
    def indexed(self) -> IndexedDataset:
        """The .bin and .idx files, mapped."""
        return IndexedDataset(str(self.facts.prefix(self.split)), multimodal=False, mmap=True)

    @cached_property
    def _documents(self) -> np.ndarray:
        return np.arange(len(self.indexed.sequence_lengths), dtype=np.int32)

    def epoch(self, number: int) -> Epoch:
        """An epoch, its index built if it is not there."""
        if number not in self._epochs:
            name = self.index_name(number)
            config = replace(self._config, random_seed=name.seed)
            epoch = Epoch(self.indexed, self._documents, config, name, self.caches)
            if len(epoch) != self.samples_per_epoch:
                raise DataError(
                    f"{self.facts.prefix(self.split)}.idx: has {len(epoch)} samples, its manifest's tokens make "
                    f"{self.samples_per_epoch}; prepare the dataset again"
                )
            self._epochs[number] = epoch
            if len(self._epochs) > OPEN_EPOCHS:
                del self._epochs[next(iter(self._epochs))]  # the one that was opened first
        return self._epochs[number]

    def index_name(self, number: int) -> IndexName:
        """The name of an epoch's index."""
        checksum = self.facts.idx_sha256(self.split)
        # numpy takes seeds of 32 bits
        return IndexName(self.split, checksum, self._config.sequence_length, (self._seed + number) % 2**32)

    def epochs_of(self, first: int, stop: int) -> range:
        """The epochs that positions `first` to `stop` - 1 lie in."""
        return range(first // self.samples_per_epoch, -(-stop // self.samples_per_epoch)) if first < stop else range(0)

    def prepare(self, first: int, stop: int) -> None:
        """Have the indices ready of the epochs that positions `first` to `stop` - 1 lie in, or of the first of them."""
        for number in self.epochs_of(first, stop)[:PREPARED_EPOCHS]:
            self.epoch(number)

    def __getitem__(self, position: int) -> Sample:
        """`tokens`, `labels`, `loss_mask` and `position_ids`, each [sequence_length_tokens].

        With document masking also `cu_seqlens`, [sequence_length_tokens + 1]: where documents begin, padded with the
        length.
        """
        number, sample = divmod(position, self.samples_per_epoch)
        return self.epoch(number)[sample]

    def without_loss(self) -> Sample:
        """A sample that fills up a batch: its loss mask is zero."""
        return self.epoch(0)[None]

    def parts(self, position: int) -> list[DocumentPart]:
        """The documents of a sample, in its order; the last part includes the token that is a label only."""
        number, sample = divmod(position, self.samples_per_epoch)
        epoch = self.epoch(number)
        (first, offset), (last, end) = epoch.sample_index[epoch.shuffle_index[sample] + [0, 1]].tolist()
        parts = []
        for place in range(first, last + 1):
            document = int(epoch.document_index[place])
            stop = end + 1 if place == last else int(self.indexed.sequence_lengths[document])
            parts.append(DocumentPart(document, offset if place == first else 0, stop))
        return parts
