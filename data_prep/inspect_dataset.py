"""Shows what a dataset holds: its counts and decoded samples. Run: megatron-recipe data inspect DATASET"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.manifest import read_manifest
from data_prep.megatron_writer import read_tokens
from data_prep.tokenizers.load import load_reference
from megatron_recipe.errors import DataError

LISTED_SOURCES = 12


def counts_table(folder: Path) -> Iterator[str]:
    """Lines that say how much of what is in the dataset."""
    manifest = read_manifest(folder)
    tokenizer = manifest["tokenizer"]
    yield f"{folder}  (written {manifest['created']})"
    yield f"tokenizer   {tokenizer['kind']}, {tokenizer['vocab_size']:,} pieces, end of document {tokenizer['eod_id']}"
    yield f"{'split':<12}{'documents':>12}{'tokens':>14}{'MB of text':>12}{'bytes/token':>12}{'chars/token':>12}"
    for name, split in manifest["splits"].items():
        text_tokens = max(split["tokens"] - split["documents"], 1)  # without the end-of-documents
        yield (
            f"{name:<12}{split['documents']:>12,}{split['tokens']:>14,}{split['bytes'] / 1e6:>12,.1f}"
            f"{split['bytes'] / text_tokens:>12.2f}{split['characters'] / text_tokens:>12.2f}"
        )
    counts = manifest["counts"]
    yield f"read {counts['read']:,} documents, kept {counts['kept']:,}"
    for reason, count in sorted(counts["dropped"].items(), key=lambda item: -item[1]):
        yield f"  dropped {count:>10,}  {reason.replace('_', ' ')}"
    yield from _source_lines(manifest["sources"])


def _source_lines(sources: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{'source':<36}{'category':<14}{'language':<10}{'documents':>10}{'MB':>8}  licence"
    for source in sources[:LISTED_SOURCES]:
        megabytes, category = source["bytes"] / 1e6, source.get("category", "unknown")
        yield (
            f"{source['name'][:35]:<36}{category[:13]:<14}{source['language']:<10}{source['documents']:>10,}"
            f"{megabytes:>8.2f}  {source['license']}"
        )
    if len(sources) > LISTED_SOURCES:
        rest = sum(source["bytes"] for source in sources[LISTED_SOURCES:])
        yield f"and {len(sources) - LISTED_SOURCES} more with {rest / 1e6:,.2f} MB"


def samples(folder: Path, split: str, count: int, seed: int = 0, characters: int = 400) -> Iterator[str]:
    """Random documents of a split, decoded from its ids.

    Raises:
        DataError: the dataset has no such split.
    """
    manifest = read_manifest(folder)
    if split not in manifest["splits"]:
        raise DataError(f"{folder}: has no split {split!r}; its splits: {', '.join(manifest['splits'])}")
    tokenizer = load_reference(folder / manifest["tokenizer"]["file"])
    index, tokens = read_tokens(folder / split)
    ends = np.cumsum(index.lengths, dtype=np.int64)
    for number in sorted(random.Random(seed).sample(range(len(ends)), min(count, len(ends)))):
        length = int(index.lengths[number])
        text = tokenizer.decode(tokens[ends[number] - length : ends[number] - 1])
        shown = text[:characters] + ("…" if len(text) > characters else "")
        yield f"── {split} document {number:,}: {length:,} tokens, {len(text):,} characters ──\n{shown}"
