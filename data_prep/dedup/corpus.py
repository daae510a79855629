"""Reads single documents of JSONL shards by their number, so that a check of two texts loads two texts."""

import functools
import os
from pathlib import Path

import numpy as np
import orjson
from datatrove.data import Document

from data_prep.dedup.shingles import Hashes, shingle_set

CACHED_SETS = 256
"""Shingle sets kept: what is compared comes in document order, so that the same few are asked for again and again."""


class Corpus:
    """The documents of ``00000.jsonl``, ``00001.jsonl``, … in one numbering. Memory: 8 bytes a document."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.jsonl"))
        self.ranks = [int(path.stem) for path in self.paths]
        line_starts = [_line_starts(path) for path in self.paths]
        self.starts = np.cumsum([0, *map(len, line_starts)])
        """Number of each shard's first document, and of all documents at the end."""
        self.line_starts = np.concatenate([np.zeros(0, dtype=np.int64), *line_starts])
        self.files = [os.open(path, os.O_RDONLY) for path in self.paths]
        self.shingles = functools.lru_cache(CACHED_SETS)(self._shingles)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def document(self, number: int) -> Document:
        """The document with this number."""
        shard = int(np.searchsorted(self.starts, number, side="right")) - 1
        start = int(self.line_starts[number])
        last = number + 1 == self.starts[shard + 1]
        end = os.fstat(self.files[shard]).st_size if last else int(self.line_starts[number + 1])
        record = orjson.loads(os.pread(self.files[shard], end - start, start))
        return Document(text=record["text"], id=record["id"], metadata=record.get("metadata", {}))

    def similarity(self, one: int, other: int) -> float:
        """Exact Jaccard similarity of two documents' shingle sets."""
        from data_prep.dedup.shingles import jaccard

        return jaccard(self.shingles(one), self.shingles(other))

    def _shingles(self, number: int) -> Hashes:
        return shingle_set(self.document(number).text)

    def close(self) -> None:
        for file in self.files:
            os.close(file)


def _line_starts(path: Path) -> np.ndarray:
    """Byte offset of each line's start, int64. JSON escapes newlines, so that each one ends a record."""
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=np.int64)
    content = np.memmap(path, dtype=np.uint8, mode="r")
    window = 1 << 24
    ends = [np.flatnonzero(content[at : at + window] == ord("\n")) + at for at in range(0, len(content), window)]
    return np.concatenate([[0], *ends])[:-1] + np.concatenate([[0], np.ones(sum(map(len, ends)) - 1, dtype=np.int64)])
