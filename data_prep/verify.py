"""Reads a whole dataset again and compares it with its manifest. Run: megatron-recipe data verify DATASET"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from data_prep.manifest import read_manifest
from data_prep.megatron_writer import Index, dtype_for, read_tokens
from data_prep.tokenizers.fast_encoder import Reference
from data_prep.tokenizers.load import load_reference
from megatron_recipe.console import progress
from megatron_recipe.errors import DataError
from megatron_recipe.files import sha256_file

CHUNK_TOKENS = 1 << 24
CHECKED_TEXTS = 1000
"""Held-out documents whose text is tokenized again."""


def verify(folder: Path) -> str:
    """Check everything the manifest says, and return one line that says what was checked.

    Raises:
        DataError: there is no manifest, or a list of all that does not hold.
    """
    manifest = read_manifest(folder)
    tokenizer = load_reference(folder / manifest["tokenizer"]["file"])
    problems = [*_tokenizer_problems(tokenizer, manifest["tokenizer"])]
    tokens = sum(split["tokens"] for split in manifest["splits"].values())
    with progress("verify", tokens, "tokens") as advance:
        for name, split in manifest["splits"].items():
            problems += _split_problems(folder / name, split, manifest["tokenizer"])
            advance(split["tokens"])
    documents = sum(split["documents"] for split in manifest["splits"].values())
    if documents != manifest["counts"]["kept"]:
        problems.append(f"counts.kept={manifest['counts']['kept']:,}, but the splits have {documents:,} documents")
    if not problems:
        problems += _held_out_problems(folder, tokenizer)
    if problems:
        raise DataError(f"{folder}: does not verify; delete it and write it again:\n  " + "\n  ".join(problems))
    return f"{folder}: {documents:,} documents and {tokens:,} tokens in {len(manifest['splits'])} splits verified"


def _tokenizer_problems(tokenizer: Reference, described: dict[str, Any]) -> Iterator[str]:
    if tokenizer.fingerprint != described["sha256"]:
        yield f"{described['file']}: SHA-256 is {tokenizer.fingerprint[:12]}…, not {described['sha256'][:12]}…"
    for field in ("vocab_size", "eod_id"):
        if getattr(tokenizer, field) != described[field]:
            yield f"{described['file']}: {field} is {getattr(tokenizer, field)}, not {described[field]}"
    for golden in described["golden"]:
        if tokenizer.encode(golden["text"]) != golden["ids"]:
            yield f"{described['file']}: gives other ids for {golden['text'][:40]!r}"


def _split_problems(prefix: Path, split: dict[str, Any], tokenizer: dict[str, Any]) -> Iterator[str]:
    try:
        index, tokens = read_tokens(prefix)
    except DataError as error:
        yield str(error)
        return
    for suffix, expected in split["sha256"].items():
        path = prefix.with_suffix(f".{suffix}")
        if sha256_file(path) != expected:
            yield f"{path.name}: its SHA-256 is not the manifest's"
    if index.dtype != dtype_for(tokenizer["vocab_size"]) or index.dtype.name != split["dtype"]:
        yield f"{prefix.name}.idx: ids are {index.dtype.name}, not {split['dtype']}"
    for found, field in ((len(index.lengths), "documents"), (len(tokens), "tokens")):
        if found != split[field]:
            yield f"{prefix.name}: has {found:,} {field}, not {split[field]:,}"
    yield from _index_problems(prefix, index)
    yield from _token_problems(prefix, index, tokens, tokenizer)


def _index_problems(prefix: Path, index: Index) -> Iterator[str]:
    offsets = np.concatenate([[0], np.cumsum(index.lengths, dtype=np.int64)]) * index.dtype.itemsize
    if not np.array_equal(index.pointers, offsets[:-1]):
        yield f"{prefix.name}.idx: offsets are not the sums of the lengths"
    if not np.array_equal(index.document_bounds, np.arange(len(index.lengths) + 1)):
        yield f"{prefix.name}.idx: documents are not one sequence each"


def _token_problems(prefix: Path, index: Index, tokens: np.ndarray, tokenizer: dict[str, Any]) -> Iterator[str]:
    largest, num_eod = 0, 0
    for start in range(0, len(tokens), CHUNK_TOKENS):
        chunk = tokens[start : start + CHUNK_TOKENS]
        largest = max(largest, int(chunk.max()))
        num_eod += int(np.count_nonzero(chunk == tokenizer["eod_id"]))
    if largest >= tokenizer["vocab_size"]:
        yield f"{prefix.name}.bin: has the id {largest}, but the vocabulary ends at {tokenizer['vocab_size'] - 1}"
    last = np.cumsum(index.lengths, dtype=np.int64) - 1
    if num_eod != len(last) or not (tokens[last] == tokenizer["eod_id"]).all():
        yield f"{prefix.name}.bin: {num_eod:,} end-of-document ids for {len(last):,} documents, one must end each"


def _held_out_problems(folder: Path, tokenizer: Reference) -> Iterator[str]:
    """validation.jsonl holds the text of validation.bin, document by document."""
    index, tokens = read_tokens(folder / "validation")
    ends = np.cumsum(index.lengths, dtype=np.int64)
    try:
        lines = (folder / "validation.jsonl").read_bytes().splitlines()
    except OSError as error:
        yield f"validation.jsonl: cannot be read ({error.strerror})"
        return
    if len(lines) != len(ends):
        yield f"validation.jsonl: has {len(lines):,} documents, validation.idx has {len(ends):,}"
        return
    for number, line in enumerate(lines[:CHECKED_TEXTS]):
        ids = tokens[ends[number] - index.lengths[number] : ends[number] - 1].tolist()
        if tokenizer.encode(orjson.loads(line)["text"]) != ids:
            yield f"validation.jsonl: line {number + 1} is not the text of document {number} in validation.bin"
            return
