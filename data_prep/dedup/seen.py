"""Drops documents that the task has seen before: for single passes, which keep no text to compare with."""

import hashlib

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.filters.base_filter import BaseFilter

from data_prep.dedup.shingles import normalised


class SeenFilter(BaseFilter):
    """Drop documents whose normalised text an earlier document of the task had (`exact_duplicate`).

    Memory: some 100 bytes a document of one task, so 100 MB for a file of a million.
    """

    name = "👀 Seen"

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        self.seen: set[bytes] = set()
        yield from super().run(data or (), rank, world_size)
        self.seen.clear()

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        text = normalised(doc.text).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, digest_size=16).digest()
        if digest in self.seen:
            return False, "exact_duplicate"
        self.seen.add(digest)
        return True
