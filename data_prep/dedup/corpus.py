"""Reads single documents of JSONL shards by their number, so that a check of two texts loads two texts."""

import os
from pathlib import Path

import numpy as np
import orjson
from datatrove.data import Document

from data_prep.dedup.arrays import save_array
from data_prep.dedup.shingles import Hashes, jaccard, shingle_set

CACHE_BYTES = 128 << 20
"""Of shingle sets kept: what is compared comes in document order, so that the same few are asked for many times."""
INDEX_WINDOW_BYTES = 1 << 24


class Corpus:
    """The documents of ``00000.jsonl``, ``00001.jsonl``, … in one numbering. Memory: 8 bytes a document.

    Args:
        folder: of the shards.
        index: folder of an index that `save_index` wrote, so that it is not made again by reading all shards.
    """

    def __init__(self, folder: Path, index: Path | None = None) -> None:
        self.paths = sorted(folder.glob("*.jsonl"))
        self.files = [os.open(path, os.O_RDONLY) for path in self.paths]
        if index is None:
            offsets = [_line_offsets(path) for path in self.paths]
            self.first = np.cumsum([0, *map(len, offsets)])
            self.offsets = np.concatenate([np.zeros(0, dtype=np.int64), *offsets])
        else:
            self.first = np.load(index / "first.npy")
            self.offsets = np.load(index / "offsets.npy", mmap_mode="r")
        self._sets: dict[int, Hashes] = {}
        self._cached_bytes = 0

    def save_index(self, folder: Path) -> None:
        """Write ``first.npy``, each shard's first document, and ``offsets.npy``, the byte each document starts at."""
        save_array(folder / "first.npy", self.first)
        save_array(folder / "offsets.npy", self.offsets)

    def __len__(self) -> int:
        return int(self.first[-1])

    def first_of(self, rank: int) -> int:
        """Number of the first document of ``RANK.jsonl``."""
        return int(self.first[[int(path.stem) for path in self.paths].index(rank)])

    def document(self, number: int) -> Document:
        """The document with this number."""
        shard = int(np.searchsorted(self.first, number, side="right")) - 1
        start = int(self.offsets[number])
        last = number + 1 == self.first[shard + 1]
        end = os.fstat(self.files[shard]).st_size if last else int(self.offsets[number + 1])
        record = orjson.loads(os.pread(self.files[shard], end - start, start))
        return Document(text=record["text"], id=record["id"], metadata=record.get("metadata", {}))

    def similarity(self, one: int, other: int) -> float:
        """Exact Jaccard similarity of two documents' shingle sets."""
        return jaccard(self._shingles(one), self._shingles(other))

    def _shingles(self, number: int) -> Hashes:
        if number not in self._sets:
            found = shingle_set(self.document(number).text)
            if self._cached_bytes + found.nbytes > CACHE_BYTES:
                self._sets.clear()
                self._cached_bytes = 0
            self._sets[number] = found
            self._cached_bytes += found.nbytes
        return self._sets[number]

    def close(self) -> None:
        """Close the shards."""
        for file in self.files:
            os.close(file)


def _line_offsets(path: Path) -> np.ndarray:
    """Byte offset of each line's start, int64. JSON escapes newlines, so that each one ends a record."""
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=np.int64)
    content = np.memmap(path, dtype=np.uint8, mode="r")
    starts = [np.zeros(1, dtype=np.int64)]
    for at in range(0, len(content), INDEX_WINDOW_BYTES):
        starts.append(np.flatnonzero(content[at : at + INDEX_WINDOW_BYTES] == ord("\n")) + at + 1)
    return np.concatenate(starts)[:-1]
