"""The n-grams of all evaluation items in one sorted array, which every task maps and none changes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import batched
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.decontaminate.evaluation_sets import find_sets, read_items
from data_prep.decontaminate.ngrams import Hashes, Numbers, ngrams
from data_prep.dedup.arrays import save_array
from megatron_recipe.files import write_json

MAX_ITEMS = 10
"""An n-gram that more items of a set hold is the set's template ("Choose the best answer to the following …") and says
of no document that it holds an item; GPT-3 likewise ignored n-grams of more than 10 training documents."""
BATCH_TEXTS = 512
STRING = np.dtype([("set", "u4"), ("item", "u4"), ("field", "u4"), ("ngrams", "u4")])
"""A text of an item; `ngrams` are those it has, each once and without the template's."""


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
    """Items whose texts are all too short for one n-gram, or are template: these cannot be found."""
    ngrams: int = 0
    template_ngrams: int = 0
    """Left out, being in more than `MAX_ITEMS` items."""


@dataclass
class _Collected:
    strings: list[tuple[int, int, int]] = field(default_factory=list)
    fields: dict[str, int] = field(default_factory=dict)
    hashes: list[Hashes] = field(default_factory=list)
    owners: list[Numbers] = field(default_factory=list)


def build_index(sets: Sequence[EvaluationSet], folder: Path) -> list[SetSummary]:
    """Write the index of evaluation sets.

    Files: ``hashes.npy``, uint64 ascending; ``strings.npy``, uint32, whose text each is of; ``texts.npy``, `STRING`s;
    ``sets.json``, the summaries and the names of fields. Memory: 60 bytes for each n-gram of the sets.

    Raises:
        DataError: a set cannot be read.
    """
    files = [(name, path, one.fields) for one in sets for name, path in find_sets(one.path)]
    collected = _Collected()
    summaries = []
    for number, (name, path, wanted) in enumerate(files):
        summaries.append(SetSummary(name))
        texts = _texts_of(path, wanted, number, collected, summaries[-1])
        for batch in batched(texts, BATCH_TEXTS):
            _add(list(batch), collected)
    hashes, owners = np.concatenate([_NO_HASHES, *collected.hashes]), np.concatenate([_NO_OWNERS, *collected.owners])
    strings = np.zeros(len(collected.strings), dtype=STRING)
    for at, name in enumerate(("set", "item", "field")):
        strings[name] = [string[at] for string in collected.strings]
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    template = _is_template(hashes, strings[owners])
    _count(strings, owners, template, summaries)
    folder.mkdir(parents=True, exist_ok=True)
    save_array(folder / "hashes.npy", hashes[~template])
    save_array(folder / "strings.npy", owners[~template].astype(np.uint32))
    save_array(folder / "texts.npy", strings)
    write_json(folder / "sets.json", {"sets": [asdict(s) for s in summaries], "fields": list(collected.fields)})
    return summaries


_NO_HASHES, _NO_OWNERS = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)


def _texts_of(
    path: Path, wanted: tuple[str, ...], number: int, collected: _Collected, summary: SetSummary
) -> Iterator[tuple[int, str]]:
    """Each text with its number, which is noted with its set, item and field."""
    for item in read_items(path, wanted):
        summary.items += 1
        for name, text in item.texts:
            place = collected.fields.setdefault(name, len(collected.fields))
            collected.strings.append((number, item.number, place))
            yield len(collected.strings) - 1, text


def _add(batch: list[tuple[int, str]], collected: _Collected) -> None:
    found = ngrams([text for _, text in batch])
    owners = np.array([string for string, _ in batch])[found.text]
    pairs = np.unique(np.stack([owners.astype(np.uint64), found.hashes]), axis=1)
    collected.owners.append(pairs[0].astype(np.int64))
    collected.hashes.append(pairs[1])


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
        # most n-grams of most documents are in no set: one bit of memory tells so without a search
        bits = max(len(self.hashes) * 16, 1 << 16).bit_length()
        self._shift = np.uint64(64 - bits)
        self._may_hold = np.zeros(1 << bits, dtype=bool)
        self._may_hold[self.hashes >> self._shift] = True

    def hits(self, hashes: Hashes) -> tuple[Numbers, Numbers]:
        """Pairs of a position in `hashes` and a text number that has this n-gram; one n-gram may give several."""
        maybe = np.flatnonzero(self._may_hold[hashes >> self._shift])
        left = np.searchsorted(self.hashes, hashes[maybe])
        counts = np.searchsorted(self.hashes, hashes[maybe], side="right") - left
        positions = np.repeat(maybe, counts)
        within = np.arange(len(positions)) - np.repeat(np.cumsum(counts) - counts, counts)
        return positions, self.owners[np.repeat(left, counts) + within].astype(np.int64)
