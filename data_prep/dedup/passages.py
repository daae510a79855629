"""Passages that many documents share: licence texts, navigation, notices. Each stays in its first document.

A passage is a line, or a paragraph of several lines, of at least `MIN_BYTES` in its normalised form. One that more than
`max_documents` documents hold is boilerplate and is taken out of all but the first of them: a licence or a famous
quotation is still learnt, once. (C4, arXiv 1910.10683, and Lee et al., arXiv 2107.06499, keep one copy too; C4 removes
from the second copy on, which also cuts a quotation out of the one essay about it.) Document duplicates must be gone
before: the lines of twenty copies of an article would all count as boilerplate.

Three steps, as for exact duplicates: `PassageHashes` writes sorted hashes to disk, `find_repeated_passages` decides,
and `passage_removal.RemovePassages` carries it out. Repetition inside one document is the repetition filter's business.
"""

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from data_prep.dedup.arrays import save_array
from data_prep.dedup.shingles import folded

MIN_BYTES = 60
"""In UTF-8: 60 Latin letters or 20 Chinese characters, which say about as much. Below are headings, table cells and
lines of code, which documents share without having been copied."""
MAX_DOCUMENTS = 10
"""Measured on Linux and LibreOffice documentation and Chinese manual pages: above 10 documents there are 59 and 159
passages, all notices and stock phrases (1,235 and 6,930 removals); above one there are 8,580 and 5,919, many of them
text that two pages on one subject share for a reason."""
RUN_ENTRIES = 1 << 21
"""Passages that a task holds before it sorts and writes them, of 16 bytes."""
PART_ENTRIES = 1 << 21
"""Entries of all runs that are merged at a time."""

Numbers = npt.NDArray[np.uint64]
LOW_32 = np.uint64(0xFFFFFFFF)


def passage_hashes(text: str) -> Iterator[tuple[list[str], list[int], int]]:
    """For each paragraph (between blank lines) its lines, their hashes, and the hash of it all; 0 for what is short.

    ``"\\n\\n".join("\\n".join(lines) for lines, _, _ in passage_hashes(text))`` is the text again.
    """
    # folding moves no line end, so that folded lines are those of the text
    for paragraph, plain in zip(text.split("\n\n"), folded(text).split("\n\n"), strict=True):
        lines = paragraph.split("\n")
        normal = [" ".join(line.split()) for line in plain.split("\n")]
        yield lines, [_hash(line) for line in normal], _hash(" ".join(normal)) if len(lines) > 1 else 0


def _hash(normal: str) -> int:
    if len(normal) * 4 < MIN_BYTES:  # no character has more than four bytes
        return 0
    encoded = normal.encode("utf-8", "surrogatepass")
    if len(encoded) < MIN_BYTES:
        return 0
    # 64 bits: among 10^9 different passages two are equal with probability 3 %, and then one of them is lost
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


class PassageHashes(PipelineStep):
    """Write which passages the task's documents hold, sorted, to ``RANK-RUN.npy``; documents pass on.

    A run is (2, passages) uint64: hashes, ascending, and ``first document of the task << 32 | number of documents``.
    """

    type = "🫂 - DEDUP"
    name = "🧱 Passage hashes"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        hashes, documents = array("Q"), array("Q")
        run = 0
        for number, document in enumerate(data or ()):
            passages = distinct_passages(document.text)
            hashes.extend(passages)
            documents.extend([number] * len(passages))
            if len(hashes) >= RUN_ENTRIES:
                self._save(hashes, documents, rank, run)
                hashes, documents, run = array("Q"), array("Q"), run + 1
            yield document
        self._save(hashes, documents, rank, run)

    def _save(self, hashes: "array[int]", documents: "array[int]", rank: int, run: int) -> None:
        entries = np.stack([np.array(hashes, dtype=np.uint64), np.array(documents, dtype=np.uint64)])
        entries = entries[:, np.argsort(entries[0], kind="stable")]  # equal ones stay in document order
        starts = _starts(entries[0])
        counts = np.diff(starts, append=entries.shape[1]).astype(np.uint64)
        packed = np.stack([entries[0, starts], entries[1, starts] << np.uint64(32) | counts])
        save_array(self.folder / f"{rank:05d}-{run:05d}.npy", packed)


def distinct_passages(text: str) -> set[int]:
    """The hashes of the passages of a text that are long enough."""
    found = {passage for _, lines, whole in passage_hashes(text) for passage in (*lines, whole)}
    found.discard(0)
    return found


def find_repeated_passages(folder: Path, decisions: Path, max_documents: int = MAX_DOCUMENTS) -> int:
    """Write the passages that more than `max_documents` documents hold to ``DECISIONS/passages.npy``.

    (3, passages) uint64: hashes, ascending; ``rank << 32 | document of the task`` of the first document; number of
    documents. Runs are merged one range of hashes after the other, so that memory is some 100 MB, and then that of the
    passages found (24 bytes each).

    Args:
        folder: what `PassageHashes` wrote.
        decisions: an existing folder.

    Returns:
        the number of passages.
    """
    paths = sorted(folder.glob("*-*.npy"))
    parts = -(-sum(np.load(path, mmap_mode="r").shape[1] for path in paths) // PART_ENTRIES)
    # hashes are uniform, so that equal ranges of them hold about as many entries
    bounds = np.array([(part << 64) // max(parts, 1) for part in range(1, parts)], dtype=np.uint64)
    cuts = [_cut(np.load(path, mmap_mode="r")[0], bounds) for path in paths]
    found = [np.zeros((3, 0), dtype=np.uint64)]
    for part in range(parts):
        pieces = [_entries(path, cut[part], cut[part + 1]) for path, cut in zip(paths, cuts, strict=True)]
        found.append(_merged(np.concatenate(pieces, axis=1), max_documents))
    repeated = np.concatenate(found, axis=1)
    save_array(decisions / "passages.npy", repeated)
    return repeated.shape[1]


def _cut(hashes: Numbers, bounds: Numbers) -> list[int]:
    return [0, *np.searchsorted(hashes, bounds).tolist(), len(hashes)]


def _entries(path: Path, start: int, end: int) -> Numbers:
    """A part of a run as `find_repeated_passages` writes passages. The file is mapped only here, or all of it stays."""
    run = np.load(path, mmap_mode="r")[:, start:end]
    rank = int(path.stem.partition("-")[0])
    return np.stack([run[0], run[1] >> np.uint64(32) | np.uint64(rank << 32), run[1] & LOW_32])


def _merged(entries: Numbers, max_documents: int) -> Numbers:
    entries = entries[:, np.argsort(entries[0], kind="stable")]  # runs are in document order, equal hashes stay in it
    starts = _starts(entries[0])
    if not len(starts):
        return entries[:, :0]
    documents = np.add.reduceat(entries[2], starts)
    return np.stack([entries[0, starts], entries[1, starts], documents])[:, documents > max_documents]


def _starts(ascending: Numbers) -> npt.NDArray[np.int64]:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]])[: len(ascending)])
