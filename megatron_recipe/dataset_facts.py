"""What the trainer needs to know of a prepared dataset folder, read from its manifest without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.manifest import read_manifest
from megatron_recipe.config import ModelConfig
from megatron_recipe.errors import DataError

BYTES_OF = {"uint16": 2, "int32": 4}
INDEX_HEADER_BYTES = 34
"""Of an .idx; a length (4), an offset (8) and a bound (8) of each document follow, and one bound more: see
data_prep/megatron_writer.py, which is not imported here since it loads numpy."""


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
    """Read a folder's manifest, and look at the sizes of the files that it names, not into them.

    Raises DataError where there is no manifest, or a file is missing or not as long as the manifest says.
    """
    manifest = read_manifest(folder)
    tokenizer = manifest["tokenizer"]
    facts = DatasetFacts(folder, tokenizer["vocab_size"], tokenizer["eod_id"], tokenizer["sha256"], manifest["splits"])
    for split in ("train", "validation"):
        for suffix, expected in _file_bytes(facts.splits[split]).items():
            _require_whole(folder / f"{split}{suffix}", expected)
    return facts


def _file_bytes(split: dict[str, Any]) -> dict[str, int]:
    """How long the files of a split must be."""
    index = INDEX_HEADER_BYTES + 20 * int(split["documents"]) + 8
    return {".bin": int(split["tokens"]) * BYTES_OF[split["dtype"]], ".idx": index}


def _require_whole(path: Path, expected: int) -> None:
    """Raise DataError unless the file is there and this long: a copy that broke off would else fail mid-run."""
    if not path.is_file():
        raise DataError(f"{path} is missing though its manifest names it; copy it there or prepare the dataset again")
    found = path.stat().st_size
    if found != expected:
        what = "a copy that broke off" if found < expected else "a file of another dataset"
        raise DataError(
            f"{path}: has {found:,} bytes, but by its manifest it must have {expected:,} ({what}?); copy it there "
            "again or prepare the dataset again"
        )
