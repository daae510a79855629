"""A simple random sample of a corpus that is read shard by shard: the same for a seed, whatever the memory or machine.

Each document gets a random number from the seed, its shard's name and its place in it; those with the smallest numbers
are the sample. So it has exactly the size asked for, and every set of documents of that size is as likely as another.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from data_prep.dedup.shingles import mixed
from megatron_recipe.errors import DataError

CHUNK = 1 << 20
"""Documents numbered at a time: 24 MB of arrays."""


@dataclass(frozen=True)
class Text:
    """A document, as the report measures it."""

    id: str
    text: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Population:
    """Documents in parts (shards or files), each of which can be read again and again in one order.

    Args:
        read: the items of a part; they may be unparsed, since only those of the sample are parsed.
        parse: an item and where it stands, as a document.
        documents: how many there are, if a stage says so.
        bytes: UTF-8 bytes of their text, if a stage says so.
        name_of: the name of a part, by which random numbers are drawn: it should not depend on where a corpus lies.
    """

    name: str
    parts: tuple[Any, ...]
    read: Callable[[Any], Iterator[Any]]
    parse: Callable[[Any, str], Text]
    documents: int | None = None
    bytes: int | None = None
    name_of: Callable[[Any], str] = str


@dataclass
class Chosen:
    """The places of a sample: part by part, the numbers of its documents and their random numbers."""

    documents: int
    numbers: dict[int, dict[int, int]] = field(default_factory=dict)
    """Part → number of the document in it → random number."""

    @property
    def size(self) -> int:
        return sum(map(len, self.numbers.values()))


def choose(population: Population, size: int, seed: int, see: Callable[[Any], None] = lambda item: None) -> Chosen:
    """Draw `size` documents, or all if there are fewer or `size` is 0, by reading everything once without parsing.

    Memory: 24 bytes a document of the sample. `see` is shown every item.
    """
    best = np.zeros((3, 0), dtype=np.uint64)  # random number, part, number
    documents = 0
    for index, part in enumerate(population.parts):
        count = 0
        for item in population.read(part):
            see(item)
            count += 1
        documents += count
        first = np.uint64(key_of(seed, f"{index}/{population.name_of(part)}"))
        for start in range(0, count, CHUNK):
            numbers = np.arange(start, min(start + CHUNK, count), dtype=np.uint64)
            drawn = mixed(numbers + first)
            best = _smallest(np.hstack([best, np.stack([drawn, np.full_like(numbers, index), numbers])]), size)
    chosen = Chosen(documents)
    for random, index, number in best.T.tolist():
        chosen.numbers.setdefault(index, {})[number] = random
    return chosen


def read_chosen(population: Population, chosen: Chosen) -> Iterator[tuple[int, Text]]:
    """The documents of a sample with their random numbers, in the order of the corpus."""
    for index, wanted in sorted(chosen.numbers.items()):
        part, last = population.parts[index], max(wanted)
        for number, item in enumerate(population.read(part)):
            if number in wanted:
                yield wanted[number], population.parse(item, f"{part}:{number + 1}")
            if number == last:
                break


def shards(name: str, folder: Path, documents: int, num_bytes: int) -> Population:
    """The documents of a finished stage."""
    return Population(name, tuple(sorted(folder.glob("*.jsonl"))), _lines, parse_line, documents, num_bytes, _file_name)


def parse_line(line: bytes, place: str) -> Text:
    """A line of a shard. Raises DataError naming it if it is no document."""
    try:
        record = orjson.loads(line)
        metadata = record.get("metadata")
        return Text(str(record["id"]), str(record["text"]), metadata if isinstance(metadata, dict) else {})
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{place}: no document ({error}); delete the stage's folder and run it again") from error


def _file_name(path: Path) -> str:
    return path.name


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def key_of(seed: int, name: str) -> int:
    """A random number of 64 bits that depends on the seed and a name only."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _smallest(rows: Any, size: int) -> Any:
    if not size or rows.shape[1] <= size:
        return rows
    # ties of 64 bits are broken by the order of the corpus, so that the sample never depends on the partition
    return rows[:, np.lexsort((rows[2], rows[1], rows[0]))[:size]]
