"""Takes repeated passages out of documents, and lists the most repeated with what their removal came to."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter

from data_prep.dedup.arrays import save_array
from data_prep.dedup.corpus import Corpus
from data_prep.dedup.passages import distinct_passages, passage_hashes
from megatron_recipe.files import atomic_file

MIN_REMAINING_BYTES = 200
"""A document that had passages removed needs as much text as this besides, or it was little more than they."""
LISTED_PASSAGES = 5000
SHOWN_CHARACTERS = 1000


class RemovePassages(BaseFilter):
    """Take repeated passages out of all documents but the first, and drop what is then too short.

    Counts `passages_removed` and `passage_bytes_removed`, and by passage in ``COUNTS/RANK.npy``: (2, passages removed)
    uint64 of rows of ``passages.npy`` and how often each was removed.

    Args:
        decisions: folder that `find_repeated_passages` wrote into.
        counts: existing folder.
        min_remaining_bytes: text, in UTF-8, that a changed document must keep, else it is dropped as
            `only_repeated_passages`.
    """

    name = "🧱 Remove repeated passages"

    def __init__(
        self,
        decisions: Path,
        counts: Path,
        min_remaining_bytes: int = MIN_REMAINING_BYTES,
        exclusion_writer: DiskWriter | None = None,
    ) -> None:
        super().__init__(exclusion_writer)
        self.decisions = decisions
        self.counts = counts
        self.min_remaining_bytes = min_remaining_bytes

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        self.table = np.load(self.decisions / "passages.npy", mmap_mode="r")
        self.first_of_task = rank << 32
        self.number = 0
        self.removed: Counter[int] = Counter()
        yield from super().run(data or (), rank, world_size)
        rows = np.array(sorted(self.removed.items()), dtype=np.uint64).reshape(-1, 2).T
        save_array(self.counts / f"{rank:05d}.npy", rows)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        document, self.number = self.first_of_task | self.number, self.number + 1
        repeated = self._repeated(distinct_passages(doc.text), document)
        if not repeated:
            return True
        before = len(doc.text.encode("utf-8", "surrogatepass"))
        text = self._without(doc.text, repeated)
        after = len(text.encode("utf-8", "surrogatepass"))
        self.stat_update("passage_bytes_removed", value=before - after)
        if after < self.min_remaining_bytes:
            return False, "only_repeated_passages"  # with the text it had, for the list of what was dropped
        doc.text = text
        return True

    def _repeated(self, passages: set[int], document: int) -> dict[int, int]:
        """The rows of the passages to remove from this document, by hash."""
        if not passages or not self.table.shape[1]:
            return {}
        hashes = np.fromiter(passages, np.uint64, len(passages))
        rows = np.minimum(np.searchsorted(self.table[0], hashes), self.table.shape[1] - 1)
        remove = (self.table[0, rows] == hashes) & (self.table[1, rows] != document)
        return dict(zip(hashes[remove].tolist(), rows[remove].tolist(), strict=True))

    def _without(self, text: str, repeated: dict[int, int]) -> str:
        kept = []
        for lines, hashes, whole in passage_hashes(text):
            if whole in repeated:
                self._count(repeated[whole])
                continue
            stay = [line for line, passage in zip(lines, hashes, strict=True) if passage not in repeated]
            for passage in hashes:
                if passage in repeated:
                    self._count(repeated[passage])
            if stay:
                kept.append("\n".join(stay))
        return "\n\n".join(kept)

    def _count(self, row: int) -> None:
        self.removed[row] += 1
        self.stat_update("passages_removed")


def list_repeated_passages(documents: Path, decisions: Path, counts: Path, output: Path) -> None:
    """Write the `LISTED_PASSAGES` most removed passages to a ``.jsonl.zst``, most removed first.

    Records: ``text`` (at most `SHOWN_CHARACTERS`), ``documents`` that held it, ``removed`` times (its lines count by
    themselves only where it is not removed whole), ``bytes`` removed with it, ``first_id``, the document that keeps it.

    Args:
        documents: the shards that the passages were found in.
        decisions: folder of ``passages.npy``.
        counts: what `RemovePassages` wrote.
    """
    table = np.load(decisions / "passages.npy", mmap_mode="r")
    removed = np.zeros(table.shape[1], dtype=np.uint64)
    for path in sorted(counts.glob("*.npy")):
        rows, times = np.load(path)
        removed[rows.astype(np.int64)] += times  # each row once in a task's file
    order = np.argsort(-removed.astype(np.int64), kind="stable")[:LISTED_PASSAGES]
    with atomic_file(output, "wb") as file, zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packed:
        for record in _records(documents, table, removed, order[removed[order] > 0]):
            packed.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _records(documents: Path, table: np.ndarray, removed: np.ndarray, rows: np.ndarray) -> Iterator[dict[str, Any]]:
    corpus = Corpus(documents)
    for row in rows.tolist():
        passage, first, num_documents = table[:, row].tolist()
        document = corpus.document(corpus.first_of(first >> 32) + (first & 0xFFFFFFFF))
        text = _passage(document.text, passage)
        yield {
            "text": text[:SHOWN_CHARACTERS],
            "documents": num_documents,
            "removed": int(removed[row]),
            "bytes": int(removed[row]) * len(text.encode("utf-8", "surrogatepass")),
            "first_id": document.id,
        }
    corpus.close()


def _passage(text: str, passage: int) -> str:
    for lines, hashes, whole in passage_hashes(text):
        if whole == passage:
            return "\n".join(lines)
        if passage in hashes:
            return lines[hashes.index(passage)]
    raise AssertionError("the first document does not hold its passage: the shards were changed")
