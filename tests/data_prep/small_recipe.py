"""The recipe of a small dataset, its corpus, and a changed copy of the recipe."""

import gzip
import json
from pathlib import Path
from typing import Any

from made_texts import make_document

from data_prep.recipe import DataRecipe, load_recipe

DATASET_FILES = ("train.bin", "train.idx", "validation.bin", "validation.idx", "validation.jsonl")


def make_recipe(corpus: Path, folder: Path, **values: Any) -> DataRecipe:
    """`folder`/out from `corpus`, with two processes; `values` by dotted names."""
    named = {"sources": (corpus,), "out": folder / "out", "work": folder / "work", "tokenizer.vocab_size": 700}
    return load_recipe("documents", {**named, "executor.workers": 2, **values})


def changed(recipe: DataRecipe, **values: Any) -> DataRecipe:
    """The recipe with other values, by dotted names with `__` for the dot."""
    plain = recipe.model_dump()
    for name, value in values.items():
        target = plain
        *path, last = name.split("__")
        for part in path:
            target = target[part]
        target[last] = value
    return DataRecipe.model_validate(plain)


def write_corpus(folder: Path, documents: int = 150, shards: int = 3) -> Path:
    """JSONL shards with documents of their own, copies, junk and records without text."""
    folder.mkdir()
    texts = [make_document(seed, "zh" if seed % 2 else "en") for seed in range(documents)]
    texts += [*texts[:10], "short", "12 34 56 78 90 12 34 56 78 90", ""]
    texts.append(texts[20].replace(".", "!", 1))
    for shard in range(shards):
        with gzip.open(folder / f"{shard}.jsonl.gz", "wt", encoding="utf-8") as file:
            for number in range(shard, len(texts), shards):
                file.write(json.dumps({"text": texts[number], "id": f"doc{number}"}, ensure_ascii=False) + "\n")
    return folder


def contents(out: Path) -> dict[str, bytes]:
    files = {name: (out / name).read_bytes() for name in DATASET_FILES}
    return files | {"tokenizer": (out / "tokenizer" / "tokenizer.model").read_bytes()}
