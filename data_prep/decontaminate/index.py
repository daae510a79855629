"""The n-grams of all evaluation items in one sorted array, which every task maps and none changes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import batched
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.decontaminate.evaluation_sets import Item, find_sets, read_items
from data_prep.decontaminate.ngrams import LONG, SHORT, Hashes, Numbers, tokens_of
from data_prep.dedup.arrays import save_array
from megatron_recipe.errors import DataError
from megatron_recipe.files import write_json

MAX_ITEMS = 10
"""An n-gram that more items of a set hold is the set's template ("Choose the best answer to the following …") and says
of no document that it holds an item; GPT-3 likewise ignored n-grams of more than 10 training documents."""
BATCH_ITEMS = 256
MAX_TABLE_BITS = 26
"""64 MB in each process, for sets of 2 million n-grams (MMLU, HellaSwag, ARC, PIQA and a dozen more) and above."""
STRING = np.dtype([("set", "u4"), ("item", "u4"), ("field", "u4"), ("ngrams", "u4"), ("is_short", "u1")])
"""A text of an item; `ngrams` are those it has, each once and without the template's: `SHORT` ones if `is_short`."""


@dataclass(frozen=True)
class EvaluationSet:
    """Files of evaluation items."""

    path: Path
    """A file, or a folder of them."""
    fields: tuple[str, ...] = ()
    """Which fields to look for; none takes all that hold text."""


@dataclass
class SetSummary:
    """What the index holds of one file."""

    name: str
    items: int = 0
    short_items: int = 0
    """Items whose texts all have less than 8 words or 13 characters, or are of the template: these cannot be found."""
    ngrams: int = 0
    template_ngrams: int = 0
    """Left out, being in more than `MAX_ITEMS` items, or in a short text with one that is."""


def build_index(sets: Sequence[EvaluationSet], folder: Path) -> list[SetSummary]:
    """Write the index of evaluation sets.

    Files: ``hashes.npy``, uint64 ascending; ``strings.npy``, uint32, whose text each is of; ``texts.npy``, `STRING`s;
    ``sets.json``, the summaries and the names of fields. Memory: 60 bytes for each n-gram of the sets.

    Raises:
        DataError: a set cannot be read, or has no text in the fields that are named.
    """
    summaries: list[SetSummary] = []
    fields: dict[str, int] = {}
    parts = [(np.zeros(0, dtype=STRING), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64))]
    for one in sets:
        before = len(parts)
        for name, path in find_sets(one.path):
            summaries.append(SetSummary(name))
            for items in batched(read_items(path, one.fields), BATCH_ITEMS):
                summaries[-1].items += len(items)
                parts.append(_ngrams_of(items, len(summaries) - 1, fields))
        if not any(len(strings) for strings, _, _ in parts[before:]):
            named = f" in {', '.join(one.fields)}; correct the fields of this evaluation set" if one.fields else ""
            raise DataError(f"{one.path}: no item has text{named}")
    firsts = np.cumsum([0, *(len(strings) for strings, _, _ in parts)])
    strings = np.concatenate([strings for strings, _, _ in parts])
    owners = np.concatenate([owners + first for (_, owners, _), first in zip(parts, firsts[:-1], strict=True)])
    hashes = np.concatenate([hashes for _, _, hashes in parts])
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    template = _is_template(hashes, strings[owners])
    # a short text must be held whole, so that without a part of it nothing is left to look for
    is_cut = (np.bincount(owners[template], minlength=len(strings)) > 0) & (strings["is_short"] == 1)
    template |= is_cut[owners]
    _count(strings, owners, template, summaries)
    folder.mkdir(parents=True, exist_ok=True)
    save_array(folder / "hashes.npy", hashes[~template])
    save_array(folder / "strings.npy", owners[~template].astype(np.uint32))
    save_array(folder / "texts.npy", strings)
    write_json(folder / "sets.json", {"sets": [asdict(s) for s in summaries], "fields": list(fields)})
    return summaries


def _ngrams_of(items: Sequence[Item], number: int, fields: dict[str, int]) -> tuple[np.ndarray, Numbers, Hashes]:
    """The texts of some items of a set, and their n-grams, each once a text, with the texts' places in these."""
    named = [(item.number, name, text) for item in items for name, text in item.texts]
    strings = np.array([(number, n, fields.setdefault(name, len(fields)), 0, 0) for n, name, _ in named], dtype=STRING)
    tokens = tokens_of([text for _, _, text in named])
    _mark_short(strings, np.bincount(tokens.text, np.diff(tokens.before), minlength=len(strings)))
    long, short = tokens.ngrams(LONG), tokens.ngrams(SHORT)
    wanted = strings["is_short"][short.text] == 1
    owners = np.concatenate([long.text, short.text[wanted]])
    hashes = np.concatenate([long.hashes, short.hashes[wanted]])
    order = np.lexsort((hashes, owners))
    owners, hashes = owners[order], hashes[order]
    is_new = np.ones(len(hashes), dtype=bool)
    is_new[1:] = (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1])
    return strings, owners[is_new], hashes[is_new]


def _mark_short(strings: np.ndarray, weights: np.ndarray) -> None:
    """Mark one text of each item that has none of LONG weight: its weightiest from SHORT weight on.

    One of a field of its own, which asks, goes before those of a list, which are answers to choose from. Not all of
    them: answers of eight words ("at the beginning of the next fiscal year") occur anywhere.
    """
    starts = np.flatnonzero(np.diff(strings["item"].astype(np.int64), prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(strings)], strict=False):
        of_item, fields = weights[start:end], strings["field"][start:end]
        if of_item.max() >= LONG or of_item.max() < SHORT:
            continue
        alone = np.bincount(fields)[fields] == 1
        candidates = np.where(alone & (of_item >= SHORT), of_item + LONG, of_item)
        strings["is_short"][start + int(np.argmax(candidates))] = 1


def _is_template(hashes: Hashes, strings: np.ndarray) -> npt.NDArray[np.bool_]:
    """Which entries are of an n-gram that more than MAX_ITEMS items of the entry's set hold. Entries are sorted."""
    if not len(hashes):
        return np.zeros(0, dtype=bool)

    def runs(*columns: np.ndarray) -> Numbers:
        changes = np.any([column[1:] != column[:-1] for column in columns], axis=0)
        return np.concatenate([[0], np.cumsum(changes)])

    of_set = runs(hashes, strings["set"])  # strings are numbered set by set and item by item, so that runs are whole
    of_item = runs(hashes, strings["set"], strings["item"])
    items = np.bincount(of_set[np.flatnonzero(np.diff(of_item, prepend=-1))])
    return items[of_set] > MAX_ITEMS


def _count(strings: np.ndarray, owners: Numbers, template: npt.NDArray[np.bool_], summaries: list[SetSummary]) -> None:
    strings["ngrams"] = np.bincount(owners[~template], minlength=len(strings))
    for number, summary in enumerate(summaries):
        of_set = strings["set"] == number
        summary.ngrams = int(strings["ngrams"][of_set].sum())
        summary.template_ngrams = int((template & of_set[owners]).sum())
        found = np.unique(strings["item"][of_set & (strings["ngrams"] > 0)])
        summary.short_items = summary.items - len(found)


class Index:
    """What `build_index` wrote, mapped."""

    def __init__(self, folder: Path) -> None:
        self.hashes: Hashes = np.load(folder / "hashes.npy", mmap_mode="r")
        self.owners = np.load(folder / "strings.npy", mmap_mode="r")
        self.strings = np.load(folder / "texts.npy", mmap_mode="r")
        names = json.loads((folder / "sets.json").read_text(encoding="utf-8"))
        self.sets = [one["name"] for one in names["sets"]]
        self.fields = names["fields"]
        # most n-grams of most documents are in no set: one look into memory tells so without a search
        bits = min(max(len(self.hashes) * 16, 1 << 16).bit_length(), MAX_TABLE_BITS)
        self._shift = np.uint64(64 - bits)
        self._may_hold = np.zeros(1 << bits, dtype=bool)
        self._may_hold[self.hashes >> self._shift] = True

    def hits(self, hashes: Hashes) -> tuple[Numbers, Numbers]:
        """Pairs of a position in `hashes` and a text number that has this n-gram; one n-gram may give several."""
        positions = np.flatnonzero(self._may_hold[hashes >> self._shift])
        left = np.searchsorted(self.hashes, hashes[positions])
        is_held = self.hashes[np.minimum(left, len(self.hashes) - 1)] == hashes[positions]
        positions, left = positions[is_held], left[is_held]
        counts = np.searchsorted(self.hashes, hashes[positions], side="right") - left
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(positions, counts), self.owners[np.repeat(left, counts) + within].astype(np.int64)
