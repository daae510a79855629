"""Puts a dataset's folder together: merged pairs, held-out text, tokenizer, manifest. It appears when it is whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.manifest import write_manifest
from data_prep.megatron_writer import merge, read_index
from data_prep.recipe import DataRecipe, StageResult
from data_prep.stages import Stage
from data_prep.tokenize_documents import SOURCE_FIELDS, SPLITS, part
from data_prep.tokenizers.fast_encoder import Reference
from data_prep.tokenizers.load import load_reference
from megatron_recipe.errors import DataError
from megatron_recipe.files import atomic_folder, sha256_file


def assemble(
    recipe: DataRecipe, parts: Path, model: Path, results: list[StageResult], stage: Stage
) -> tuple[dict[str, int], int]:
    """Write `recipe.out` from the tasks' parts.

    Args:
        results: of all stages that dropped documents, in order.
        stage: the writing stage; its fingerprint goes into the manifest.

    Returns:
        tokens of each split, and bytes on disk.

    Raises:
        DataError: a split has no documents.
    """
    ranks = sorted(int(path.name.partition(".")[0]) for path in parts.glob("*.counts.json"))
    splits, sources = _sum_counts(parts, ranks)
    _require_documents(splits)
    tokenizer = load_reference(model)
    rng = np.random.default_rng(recipe.seed) if recipe.dataset.shuffle else None
    with atomic_folder(recipe.out) as folder:
        (folder / "tokenizer").mkdir()
        shutil.copyfile(model, folder / "tokenizer" / model.name)
        for split in SPLITS:
            prefix = folder / split
            prefixes = [part(parts, rank, split) for rank in ranks]
            # validation.jsonl is the text of the validation pair, document by document: that order stays
            merge(prefixes, prefix, tokenizer.vocab_size, rng if split == "train" else None)
            index = read_index(prefix.with_suffix(".idx"))
            splits[split] |= {
                "tokens": int(index.lengths.sum(dtype="int64")),
                "dtype": index.dtype.name,
                "sha256": {suffix: sha256_file(prefix.with_suffix(f".{suffix}")) for suffix in ("bin", "idx")},
            }
        _concatenate(
            [part(parts, rank, "validation").with_suffix(".jsonl") for rank in ranks], folder / "validation.jsonl"
        )
        write_manifest(
            folder,
            {
                "tokenizer": _describe(tokenizer),
                "splits": splits,
                "counts": _total_counts(results),
                "sources": sources,
                "settings": _settings(recipe, stage),
            },
        )
    tokens = {split: splits[split]["tokens"] for split in SPLITS}
    return tokens, sum(path.stat().st_size for path in recipe.out.rglob("*") if path.is_file())


def _describe(tokenizer: Reference) -> dict[str, Any]:
    return {
        "kind": tokenizer.kind,
        "file": f"tokenizer/{tokenizer.path.name}",
        "vocab_size": tokenizer.vocab_size,
        "eod_id": tokenizer.eod_id,
        "sha256": tokenizer.fingerprint,
        "golden": tokenizer.golden(),
    }


def _total_counts(results: list[StageResult]) -> dict[str, Any]:
    dropped: dict[str, int] = {}
    for result in results:
        for reason, count in result.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return {"read": results[0].documents_in, "kept": results[-1].documents_out, "dropped": dropped}


def _settings(recipe: DataRecipe, stage: Stage) -> dict[str, Any]:
    return {**recipe.model_dump(mode="json", exclude={"out", "work", "executor"}), "fingerprint": stage.fingerprint}


def _sum_counts(parts: Path, ranks: list[int]) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    splits: dict[str, dict[str, Any]] = {s: {"documents": 0, "bytes": 0, "characters": 0} for s in SPLITS}
    sources: dict[tuple[str, ...], dict[str, Any]] = {}
    for rank in ranks:
        counts = json.loads((parts / f"{rank:05d}.counts.json").read_text(encoding="utf-8"))
        for split, values in counts["splits"].items():
            for name, value in values.items():
                splits[split][name] += value
        for source in counts["sources"]:
            key = tuple(source[name] for name in ("name", *SOURCE_FIELDS[1:]))
            total = sources.setdefault(key, {**source, "documents": 0, "bytes": 0})
            total["documents"] += source["documents"]
            total["bytes"] += source["bytes"]
    return splits, sorted(sources.values(), key=lambda s: (-s["bytes"], *map(str, s.values())))


def _require_documents(splits: dict[str, dict[str, Any]]) -> None:
    for split in SPLITS:
        if splits[split]["documents"] == 0:
            total = sum(values["documents"] for values in splits.values())
            raise DataError(
                f"the {split} split has no document of {total} that were kept; give more text or another "
                "--validation-share"
            )


def _concatenate(paths: list[Path], output: Path) -> None:
    with output.open("wb") as whole:
        for path in paths:
            with path.open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)
