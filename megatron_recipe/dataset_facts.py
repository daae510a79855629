"""What the trainer needs to know of a prepared dataset folder, read from its manifest without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.manifest import read_manifest
from megatron_recipe.config import ModelConfig
from megatron_recipe.errors import DataError


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset folder and the parts of its manifest that training depends on."""

    folder: Path
    vocab_size: int
    eod_id: int
    tokenizer_sha256: str
    splits: dict[str, dict[str, Any]]

    def prefix(self, split: str) -> Path:
        """Path of a split without `.bin` and `.idx`."""
        return self.folder / split

    def tokens(self, split: str) -> int:
        """Tokens of a split, end-of-document tokens included."""
        return int(self.splits[split]["tokens"])

    def samples(self, split: str, length_tokens: int) -> int:
        """Whole samples of a split; each shares its last label with the next one's first token."""
        return max(0, self.tokens(split) - 1) // length_tokens

    def idx_sha256(self, split: str) -> str:
        """Checksum of the .idx file: the lengths of the split's documents."""
        return str(self.splits[split]["sha256"]["idx"])

    @property
    def train_sha256(self) -> str:
        """Checksum of the training tokens: tells whether a run continues on the data that it began with."""
        return str(self.splits["train"]["sha256"]["bin"])

    def bytes_per_token(self, split: str) -> float:
        """UTF-8 bytes of text for each token: turns nats per token into bits per byte."""
        return float(self.splits[split]["bytes"]) / max(self.tokens(split), 1)


def vocabulary(model: ModelConfig, facts: Sequence[DatasetFacts]) -> int:
    """Ids of the model, without padding: by default the tokenizer's."""
    return model.vocab_size or facts[0].vocab_size


def read_dataset_facts(folder: Path) -> DatasetFacts:
    """Read a folder's manifest. Raises DataError where there is none or a file that it names is missing."""
    manifest = read_manifest(folder)
    tokenizer = manifest["tokenizer"]
    facts = DatasetFacts(folder, tokenizer["vocab_size"], tokenizer["eod_id"], tokenizer["sha256"], manifest["splits"])
    for split in ("train", "validation"):
        for suffix in (".bin", ".idx"):
            path = folder / f"{split}{suffix}"
            if not path.is_file():
                raise DataError(f"{path} is missing though its manifest names it; prepare the dataset again")
    return facts
