"""What the duplicate finders decide, and the block that carries it out and lists what was removed for what."""

import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import zstandard
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from data_prep.dedup.arrays import save_array
from data_prep.dedup.corpus import Corpus

REASONS = ("", "exact_duplicate", "near_duplicate")
SHOWN_CHARACTERS = 200


@dataclass
class Removals:
    """One entry a document, in the corpus's numbering; 13 bytes each.

    `matched` is a document that is kept, -1 for documents that are kept themselves.
    """

    matched: np.ndarray  # int64
    similarity: np.ndarray  # float32, exact Jaccard
    reason: np.ndarray  # uint8, index into REASONS

    @classmethod
    def none(cls, num_documents: int) -> "Removals":
        """Nothing removed yet."""
        return cls(
            np.full(num_documents, -1, dtype=np.int64),
            np.zeros(num_documents, dtype=np.float32),
            np.zeros(num_documents, dtype=np.uint8),
        )

    def remove(self, number: int, matched: int, similarity: float, reason: str) -> None:
        """Remove one document as a copy of `matched`."""
        self.matched[number], self.similarity[number] = matched, similarity
        self.reason[number] = REASONS.index(reason)

    @property
    def kept(self) -> np.ndarray:
        """Numbers of the documents that are kept, ascending."""
        return np.flatnonzero(self.matched < 0)

    def follow(self) -> None:
        """Let copies of a document that was removed itself point to the one that stayed in its place.

        Only exact copies need it, found before the near ones: they are as similar to the one that stayed.
        """
        through = np.flatnonzero(self.matched >= 0)
        through = through[self.matched[self.matched[through]] >= 0]
        first = self.matched[through]
        self.matched[through], self.similarity[through] = self.matched[first], self.similarity[first]

    def save(self, folder: Path) -> None:
        """Write the arrays as ``matched.npy``, ``similarity.npy`` and ``reason.npy``."""
        for name in ("matched", "similarity", "reason"):
            save_array(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "Removals":
        """Map what `save` wrote; tasks read only their own part."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("matched", "similarity", "reason")))


class RemoveDuplicates(PipelineStep):
    """Drop the documents that `Removals` names and list them in ``removed/RANK.jsonl``.

    Args:
        documents: folder of the shards that the numbering is of; each task must read the shard of its rank.
        decisions: folder that `Removals.save` and `Corpus.save_index` wrote.
        listing: folder for the lists of what was removed.
    """

    type = "🔻 - FILTER"
    name = "🫂 Remove duplicates"

    def __init__(self, documents: Path, decisions: Path, listing: Path) -> None:
        super().__init__()
        self.documents = documents
        self.decisions = decisions
        self.listing = listing

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        removals = Removals.load(self.decisions)
        corpus = Corpus(self.documents, self.decisions)
        first = corpus.first_of(rank)
        with (self.listing / f"{rank:05d}.jsonl").open("wb") as listing:
            for number, document in enumerate(data or (), first):
                reason = REASONS[removals.reason[number]]
                if not reason:
                    yield document
                    continue
                self.stat_update(f"dropped_{reason}")
                listing.write(_record(document, corpus.document(int(removals.matched[number])), removals, number))
        corpus.close()


def _record(removed: Document, matched: Document, removals: Removals, number: int) -> bytes:
    return orjson.dumps(
        {
            "id": removed.id,
            "matched_id": matched.id,
            "similarity": round(float(removals.similarity[number]), 4),
            "reason": REASONS[removals.reason[number]],
            "text": removed.text[:SHOWN_CHARACTERS],
            "matched_text": matched.text[:SHOWN_CHARACTERS],
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def gather(listing: Path, output: Path) -> None:
    """Concatenate the tasks' lists in their order, zstandard-compressed if the name of `output` says so."""
    with output.open("wb") as file:
        packed = output.suffix == ".zst"
        writer = zstandard.ZstdCompressor().stream_writer(file, closefd=False) if packed else nullcontext(file)
        with writer as whole:
            for path in sorted(listing.glob("*.jsonl")):
                with path.open("rb") as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
