"""Near duplicates: MinHash signatures, locality-sensitive hashing by sorting bands, every match verified.

Broder 1997 ("On the resemblance and containment of documents") for MinHash; the banding is that of Leskovec, Rajaraman
and Ullman, Mining of Massive Datasets, chapter 3. Signatures come from rensa (Rust) over arrays of hashed character
shingles. Bands lie on disk and are sorted one at a time, so that memory is some tens of bytes a document.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rensa
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from data_prep.dedup.arrays import save_array
from data_prep.dedup.corpus import Corpus
from data_prep.dedup.removal import Removals
from data_prep.dedup.shingles import batch_shingle_hashes, distinct, mixed, normalised

BATCH_CHARACTERS = 1_000_000
NEIGHBOURS = 3
"""Earlier documents of its band that a document is paired with, besides the band's first."""


@dataclass(frozen=True)
class Banding:
    """How signatures are cut. Two documents of similarity s share a band with probability 1 - (1 - s^rows)^bands."""

    bands: int
    rows: int
    seed: int = 1

    @property
    def permutations(self) -> int:
        """Length of a signature."""
        return self.bands * self.rows


def banding_for(threshold: float) -> Banding:
    """The banding of 128 permutations that misses fewest pairs above `threshold` without pairing everything.

    Rows are as many as still find a pair of similarity `threshold` + 0.05 with 98 %: at 0.8, 16 bands of 8 rows.
    """
    target = min(threshold + 0.05, 1.0)
    fitting = [rows for rows in (1, 2, 4, 8, 16) if 1 - (1 - target**rows) ** (128 // rows) >= 0.98]
    rows = max(fitting, default=1)
    return Banding(128 // rows, rows)


class MinHashBands(PipelineStep):
    """Write each document's band hashes to ``RANK.npy``, (bands, documents) uint64; documents pass on.

    Args:
        folder: where to write.
        banding: the number of bands and rows.
    """

    type = "🫂 - DEDUP"
    name = "🎯 MinHash bands"

    def __init__(self, folder: Path, banding: Banding) -> None:
        super().__init__()
        self.folder = folder
        self.banding = banding

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        parts: list[np.ndarray] = []
        texts: list[str] = []
        characters = 0
        for document in data or ():
            texts.append(normalised(document.text))
            characters += len(texts[-1])
            if characters >= BATCH_CHARACTERS:
                parts.append(band_hashes(texts, self.banding))
                texts, characters = [], 0
            yield document
        if texts:
            parts.append(band_hashes(texts, self.banding))
        empty = np.zeros((self.banding.bands, 0), dtype=np.uint64)
        save_array(self.folder / f"{rank:05d}.npy", np.concatenate([empty, *parts], axis=1))


def band_hashes(texts: list[str], banding: Banding) -> np.ndarray:
    """One hash for each band of each text's signature, (bands, len(texts)) uint64."""
    hashes, offsets = batch_shingle_hashes(texts)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, banding.permutations, banding.seed)
    numbers = itertools.chain.from_iterable(matrix.to_rows())  # quicker to an array than a list of lists
    flat = np.fromiter(numbers, np.uint64, len(texts) * banding.permutations)
    signatures = flat.reshape(len(texts), banding.bands, banding.rows)
    keys = np.zeros((len(texts), banding.bands), dtype=np.uint64)
    for row in range(banding.rows):
        keys = mixed(keys ^ signatures[:, :, row])
    return keys.T


def find_near_duplicates(folder: Path, corpus: Corpus, threshold: float, removals: Removals) -> Iterator[int]:
    """Mark the documents whose similarity to an earlier document that is kept reaches `threshold`.

    Documents are decided in their order, each against candidates that are decided: a candidate that was removed stands
    for the kept document it is a copy of. So no document is removed for one that is itself removed, and a chain of
    copies, each a little different, does not collapse into its first.

    Args:
        folder: what `MinHashBands` wrote, one file a shard.
        removals: exact duplicates are marked and left out; changed in place.

    Yields:
        the number of candidate pairs done since the last one, for progress.
    """
    pairs = candidate_pairs(folder, removals.kept)
    later, earlier = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    starts = np.flatnonzero(np.diff(later, prepend=-1))
    ends = np.append(starts, len(later))[1:]
    for start, end in zip(starts, ends, strict=True):
        number = int(later[start])
        candidates = earlier[start:end]
        matched = removals.matched[candidates]
        kept = np.unique(np.where(matched >= 0, matched, candidates))
        for candidate in kept:
            similarity = corpus.similarity(number, int(candidate))
            if similarity >= threshold:
                removals.remove(number, int(candidate), similarity, "near_duplicate")
                break
        yield int(end - start)


def candidate_pairs(folder: Path, alive: np.ndarray) -> np.ndarray:
    """Pairs of documents that share a band, as (later << 32 | earlier) uint64, sorted, each once.

    Within a band a document is paired with the first and the NEIGHBOURS nearest earlier ones: a band shared by ten
    thousand copies of a licence gives forty thousand pairs and not fifty million.
    """
    paths = sorted(folder.glob("*.npy"))
    bands = np.load(paths[0], mmap_mode="r").shape[0] if paths else 0
    pairs = np.zeros(0, dtype=np.uint64)
    for band in range(bands):
        # mapped anew for each band, so that the bands done leave memory
        keys = np.concatenate([np.load(path, mmap_mode="r")[band] for path in paths])[alive]
        pairs = distinct(np.concatenate([pairs, _pairs_of_band(keys, alive.astype(np.uint64))]))
    return pairs


def _pairs_of_band(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    order = np.argsort(keys, kind="stable")  # equal keys stay in document order
    keys, numbers = keys[order], numbers[order]
    positions = np.arange(len(keys))
    begins = np.concatenate([[True], keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, dtype=bool)
    first = np.maximum.accumulate(np.where(begins, positions, 0))
    found = []
    for back in range(1, NEIGHBOURS + 1):
        later = np.flatnonzero(positions - first >= back)
        found.append(numbers[later] << np.uint64(32) | numbers[later - back])
    later = np.flatnonzero(positions - first > NEIGHBOURS)
    found.append(numbers[later] << np.uint64(32) | numbers[first[later]])
    return np.concatenate(found)
