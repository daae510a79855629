"""Exact duplicates: documents whose normalised text is equal, found by sorting 128-bit hashes.

datatrove's ExactDedup blocks find the same documents, but keep only the number of a removed document and not which one
it equals, so that no list could say what was removed for what; they also compare one Python object a document.
"""

import hashlib
from pathlib import Path

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from data_prep.dedup.arrays import save_array
from data_prep.dedup.removal import Removals
from data_prep.dedup.shingles import normalised

HASH_BYTES = 16
"""128 bits: among 10^9 documents two differing ones collide with probability 10^-21."""


class ExactSignatures(PipelineStep):
    """Write the hash of each document's normalised text to ``RANK.npy``, (documents, 2) uint64; documents pass on."""

    type = "🫂 - DEDUP"
    name = "💥 Exact signatures"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        hashes = bytearray()
        for document in data or ():
            text = normalised(document.text).encode("utf-8", "surrogatepass")
            hashes += hashlib.blake2b(text, digest_size=HASH_BYTES).digest()
            yield document
        save_array(self.folder / f"{rank:05d}.npy", np.frombuffer(bytes(hashes), dtype=np.uint64).reshape(-1, 2))


def find_exact_duplicates(folder: Path, removals: Removals) -> None:
    """Mark all but the first document of each set of equal ones. Memory: 40 bytes a document.

    Args:
        folder: what `ExactSignatures` wrote, one file a shard.
        removals: changed in place.
    """
    hashes = np.concatenate([np.load(path) for path in sorted(folder.glob("*.npy"))])
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))  # stable: equal hashes stay in document order
    repeated = (hashes[order[1:]] == hashes[order[:-1]]).all(axis=1)
    # the first of each run of equal hashes: its position, carried forward over the run
    starts = np.concatenate([[0], np.where(repeated, 0, np.arange(1, len(order)))])
    first = order[np.maximum.accumulate(starts)]
    removed = order[1:][repeated]
    removals.matched[removed] = first[1:][repeated]
    removals.similarity[removed] = 1.0
    removals.reason[removed] = 1
