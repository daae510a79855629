"""Drops documents that hold evaluation items, and lists every overlap, also those that drop nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter

from data_prep.decontaminate.index import Index
from data_prep.decontaminate.ngrams import LONG, SHORT, Ngrams, Numbers, tokens_of

MIN_SHARE = 0.5
"""With any overlap, as in GPT-3, 16 manual pages are dropped for "1 2 3 4 … 13", which a test of MBPP counts up too."""
BATCH_DOCUMENTS = 256
BATCH_CHARACTERS = 1_000_000
SHOWN_CHARACTERS = 400


@dataclass(frozen=True)
class Hit:
    """One item that a document overlaps with, by its text that the document holds most of."""

    document: int
    """In the batch."""
    string: int
    """Which text of the index."""
    ngrams: int
    """Distinct n-grams of the text that the document holds."""
    share: float
    """Of all n-grams of the text."""
    drops: bool
    """Whether that is enough to drop the document."""
    text: str
    """The longest run of them in the document, normalised."""


class Decontaminate(BaseFilter):
    """Drop a document (`contaminated`) that holds at least `min_share` of the n-grams of any text of an item.

    An item without a text of 13 words is found by its longest of 8 words or more, which a document must hold whole.
    The share is of the item's text and not of the document, and each text of an item counts by itself: a leaked
    question is found in a document of any length and beside a long passage that did not leak, while a book that shares
    one sentence with a long passage is listed and stays. (GPT-3 cut 200 characters around every 13-gram found; Tülu 3,
    arXiv 2411.15124, counts an item as leaked from half of its tokens on, as here.)

    Each overlap is a line of ``LISTING/RANK.jsonl``: ``id``, ``set``, ``item`` (from 0), ``field``, ``ngrams``,
    ``share``, ``dropped`` (for it) and ``text``, the longest common run.

    Args:
        index: folder that `build_index` wrote.
        listing: existing folder.
        min_share: above 0, at most 1.
    """

    name = "🦠 Decontaminate"

    def __init__(
        self, index: Path, listing: Path, min_share: float = MIN_SHARE, exclusion_writer: DiskWriter | None = None
    ) -> None:
        super().__init__(exclusion_writer, batch_size=BATCH_DOCUMENTS)
        self.index = index
        self.listing = listing
        self.min_share = min_share

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        self.evaluations = Index(self.index)
        with (self.listing / f"{rank:05d}.jsonl").open("wb") as self.list:
            yield from super().run(data or (), rank, world_size)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        decisions: list[bool | tuple[bool, str]] = []
        for documents in _parts(batch):
            found = find_hits([document.text for document in documents], self.evaluations, self.min_share)
            dropped = {hit.document for hit in found if hit.drops}
            decisions += [(False, "contaminated") if i in dropped else True for i in range(len(documents))]
            self._write(self.list, found, documents)
        return decisions

    def _write(self, file: IO[bytes], found: list[Hit], documents: list[Document]) -> None:
        for hit in found:
            self.stat_update("overlaps")
            string = self.evaluations.strings[hit.string]
            record: dict[str, Any] = {
                "id": documents[hit.document].id,
                "set": self.evaluations.sets[string["set"]],
                "item": int(string["item"]),
                "field": self.evaluations.fields[string["field"]],
                "ngrams": hit.ngrams,
                "share": round(hit.share, 4),
                "dropped": hit.drops,
                "text": hit.text[:SHOWN_CHARACTERS],
            }
            file.write(orjson.dumps(_storable(record), option=orjson.OPT_APPEND_NEWLINE))


def _storable(record: dict[str, Any]) -> dict[str, Any]:
    """Lone surrogates, which UTF-8 cannot hold, as question marks."""
    return {k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in record.items()}


def _parts(batch: list[Document]) -> Iterator[list[Document]]:
    """The batch cut so that memory does not follow its longest documents together."""
    part: list[Document] = []
    characters = 0
    for document in batch:
        if part and characters + len(document.text) > BATCH_CHARACTERS:
            yield part
            part, characters = [], 0
        part.append(document)
        characters += len(document.text)
    if part:
        yield part


def find_hits(texts: list[str], index: Index, min_share: float) -> list[Hit]:
    """The items each text overlaps with, by document, set and item; of each item its text with the greatest share."""
    tokens = tokens_of(texts)
    best: dict[tuple[int, int, int], Hit] = {}
    for weight in (LONG, SHORT):
        for hit in _hits_of(tokens.ngrams(weight), index, min_share):
            string = index.strings[hit.string]
            item = (hit.document, int(string["set"]), int(string["item"]))
            if item not in best or (hit.drops, hit.share) > (best[item].drops, best[item].share):
                best[item] = hit
    return [best[item] for item in sorted(best)]


def _hits_of(found: Ngrams, index: Index, min_share: float) -> Iterator[Hit]:
    positions, strings = index.hits(found.hashes)
    if not len(positions):
        return
    documents = found.text[positions]
    order = np.lexsort((found.hashes[positions], strings, documents))
    positions, strings, documents = positions[order], strings[order], documents[order]
    starts = np.flatnonzero(_changes(documents) | _changes(strings))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(positions)], strict=True):
        here = positions[start:end]
        string = index.strings[strings[start]]
        count = len(np.unique(found.hashes[here]))
        share = count / int(string["ngrams"])
        drops = share >= (1 if string["is_short"] else min_share)
        yield Hit(int(documents[start]), int(strings[start]), count, share, drops, _longest_run(found, np.sort(here)))


def _changes(column: Numbers) -> np.ndarray:
    return np.concatenate([[True], column[1:] != column[:-1]])


def _longest_run(found: Ngrams, positions: Numbers) -> str:
    """The text under the longest run of n-grams that begin at tokens next to each other."""
    first = found.first[positions]
    begins = np.flatnonzero(np.concatenate([[True], np.diff(first) != 1]))
    lengths = np.diff(begins, append=len(first))
    longest = begins[np.argmax(lengths)]
    last = longest + lengths.max() - 1
    return found.joined[found.start[positions[longest]] : found.end[positions[last]]]
