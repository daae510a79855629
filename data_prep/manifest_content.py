"""What a manifest says of a dataset: its tokenizer, its splits, the counts of its sources and of what was dropped."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_prep.megatron_writer import read_index
from data_prep.recipe import DataRecipe, StageResult
from data_prep.tokenize_documents import SOURCE_FIELDS, SPLITS
from data_prep.tokenizers.fast_encoder import Reference
from megatron_recipe.errors import DataError
from megatron_recipe.files import sha256_file

Counts = dict[str, dict[str, Any]]


def describe_dataset(
    folder: Path, splits: Counts, sources: list[dict[str, Any]], tokenizer: Reference, results: list[StageResult]
) -> dict[str, Any]:
    """The manifest but for its `settings`, of a folder that has the .bin/.idx of both splits.

    Args:
        splits, sources: as `sum_counts` gives them.
        results: of all stages that dropped documents, in order.
    """
    return {
        "tokenizer": {
            "kind": tokenizer.kind,
            "file": f"tokenizer/{tokenizer.path.name}",
            "vocab_size": tokenizer.vocab_size,
            "eod_id": tokenizer.eod_id,
            "sha256": tokenizer.fingerprint,
            "golden": tokenizer.golden(),
        },
        "splits": {split: splits[split] | _describe_pair(folder / split) for split in SPLITS},
        "counts": _total_counts(results),
        "sources": sources,
    }


def _describe_pair(prefix: Path) -> dict[str, Any]:
    index = read_index(prefix.with_suffix(".idx"))
    return {
        "tokens": int(index.lengths.sum(dtype="int64")),
        "dtype": index.dtype.name,
        "sha256": {suffix: sha256_file(prefix.with_suffix(f".{suffix}")) for suffix in ("bin", "idx")},
    }


def settings_of(recipe: DataRecipe, fingerprint: str) -> dict[str, Any]:
    """The recipe as a manifest records it, without what changes no byte of the dataset."""
    return {**recipe.model_dump(mode="json", exclude={"out", "work", "executor"}), "fingerprint": fingerprint}


def read_counts(path: Path) -> dict[str, Any]:
    """What `SplitCounter` wrote of one task."""
    return json.loads(path.read_text(encoding="utf-8"))


def sum_counts(tasks: Iterable[dict[str, Any]]) -> tuple[Counts, list[dict[str, Any]]]:
    """The splits' documents, bytes and characters, and those of each source, largest first.

    Raises:
        DataError: a split has no document.
    """
    splits: Counts = {s: {"documents": 0, "bytes": 0, "characters": 0} for s in SPLITS}
    sources: dict[tuple[str, ...], dict[str, Any]] = {}
    for counts in tasks:
        for split, values in counts["splits"].items():
            for name, value in values.items():
                splits[split][name] += value
        for source in counts["sources"]:
            key = tuple(source[name] for name in ("name", *SOURCE_FIELDS[1:]))
            total = sources.setdefault(key, {**source, "documents": 0, "bytes": 0})
            total["documents"] += source["documents"]
            total["bytes"] += source["bytes"]
    _require_documents(splits)
    return splits, sorted(sources.values(), key=lambda s: (-s["bytes"], *map(str, s.values())))


def _total_counts(results: list[StageResult]) -> dict[str, Any]:
    dropped: dict[str, int] = {}
    for result in results:
        for reason, count in result.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return {"read": results[0].documents_in, "kept": results[-1].documents_out, "dropped": dropped}


def _require_documents(splits: Counts) -> None:
    for split in SPLITS:
        if splits[split]["documents"] == 0:
            total = sum(values["documents"] for values in splits.values())
            raise DataError(
                f"the {split} split has no document of {total} that were kept; give more text or another "
                "dataset.validation_share"
            )
