"""What the trainer needs to know of a prepared dataset folder, read from its manifest without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe.errors import DataError

MANIFEST_FORMAT = "megatron-recipe/dataset/1"


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

    def bytes_per_token(self, split: str) -> float:
        """UTF-8 bytes of text for each token: turns nats per token into bits per byte."""
        return float(self.splits[split]["bytes"]) / max(self.tokens(split), 1)


def read_dataset_facts(folder: Path) -> DatasetFacts:
    """Read a folder's manifest. Raises DataError where there is none or a file that it names is missing."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise DataError(
            f"{folder}: not a dataset (no manifest.json); make one with `megatron-recipe data prepare SOURCE --out "
            f"{folder}`, or name another with --set data.datasets=PATH"
        )
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if content["format"] != MANIFEST_FORMAT:
            raise DataError(f"{manifest}: format={content['format']!r} is not {MANIFEST_FORMAT!r}; prepare it again")
        tokenizer = content["tokenizer"]
        facts = DatasetFacts(
            folder, tokenizer["vocab_size"], tokenizer["eod_id"], tokenizer["sha256"], content["splits"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{manifest}: damaged ({error!r}); prepare the dataset again") from error
    for split in ("train", "validation"):
        for suffix in (".bin", ".idx"):
            path = folder / f"{split}{suffix}"
            if not path.is_file():
                raise DataError(f"{path} is missing though {manifest} names it; prepare the dataset again")
    return facts
