"""The held-out documents of a dataset folder, as text: what exports and evaluations are measured on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe.errors import DataError, in_short
from megatron_recipe.files import sha256_file


@dataclass(frozen=True)
class Document:
    """One held-out document."""

    text: str
    source: str
    language: str


def read_held_out(dataset: Path) -> Iterator[Document]:
    """Documents of validation.jsonl, in the order of validation.bin. Raises DataError where it is damaged."""
    file = dataset / "validation.jsonl"
    if not file.is_file():
        raise DataError(f"{file} is missing: the dataset has no held-out text; prepare it with a validation split")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                metadata = record.get("metadata") or {}
                yield Document(record["text"], metadata.get("source", "unknown"), metadata.get("language", "unknown"))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{file}, line {number}: not a document ({in_short(error)}); prepare the dataset again"
                ) from error


def tokenizer_file(dataset: Path, manifest: dict[str, Any]) -> Path:
    """The SentencePiece model of a dataset. Raises DataError where it is missing or not the one of the manifest."""
    tokenizer = manifest["tokenizer"]
    file = dataset / tokenizer["file"]
    if not file.is_file():
        raise DataError(f"{file} is missing: the dataset's tokenizer; copy it there or prepare the dataset again")
    if sha256_file(file) != tokenizer["sha256"]:
        raise DataError(
            f"{file} is not the tokenizer that the dataset was made with; restore it or prepare the dataset again"
        )
    return file
