"""The text of each source in two parts: a sample to train on, and documents that no tokenizer sees before it is judged.

A document's part is decided by a hash of its text, so that an exact copy of it falls on the same side. Both parts are
chosen in one pass and bounded memory.
"""

import hashlib
import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from data_prep.sources.local import LocalFile, LocalText
from data_prep.tokenizer_lab.request import Request
from data_prep.tokenizers.train import cut_to_pieces, reservoir
from megatron_recipe import console
from megatron_recipe.errors import DataError

HELD_OUT_SHARE = 0.1
HELD_OUT_BYTES = 2_000_000
"""Of each source at most; some 500,000 tokens, whose mean length is known to a fraction of a percent."""
HELD_OUT_CHARACTERS = 100_000
"""Of one document at most, so that one book does not stand for a language."""
SEED = 1


@dataclass(frozen=True)
class Texts:
    """`train`: pieces in the mix's shares; `held_out`: whole documents, by source."""

    train: list[str]
    train_bytes: dict[str, int]
    held_out: dict[str, list[str]]


def read_texts(request: Request, training_bytes: int) -> Texts:
    """Read all sources; the training sample holds the mix exactly, so that a short source makes it smaller.

    Raises:
        DataError: a source cannot be read, is empty, or has too few documents to hold one out.
    """
    held_out: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for name, files in request.sources.items():
        kept = _SmallestHashes(HELD_OUT_BYTES)
        training = _training_documents(_documents(name, files), kept)
        limit = int(training_bytes * request.shares[name])
        samples[name] = reservoir(cut_to_pieces(training), limit, SEED, num_bytes)
        held_out[name] = kept.texts()
        if not samples[name] or not held_out[name]:
            raise DataError(
                f"{name}: {', '.join(str(file.path) for file in files)} has no text for "
                f"{'training' if not samples[name] else 'the comparison'}; {HELD_OUT_SHARE:.0%} of the documents are "
                "held out, so give a few dozen at least"
            )
    chosen = _in_shares(samples, request.shares, training_bytes)
    sizes = {name: sum(map(num_bytes, pieces)) for name, pieces in chosen.items()}
    return Texts([piece for pieces in chosen.values() for piece in pieces], sizes, held_out)


def num_bytes(text: str) -> int:
    """Length in UTF-8."""
    return len(text.encode())


def _documents(name: str, files: list[LocalFile]) -> Iterator[str]:
    with console.progress(f"read {name}", None, "documents") as advance:
        for document in LocalText(files).run():
            advance()
            if document.text.strip():
                yield document.text


def _training_documents(documents: Iterable[str], held_out: "_SmallestHashes") -> Iterator[str]:
    for text in documents:
        number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        if number < HELD_OUT_SHARE * 2**64:
            held_out.add(number, text[:HELD_OUT_CHARACTERS])
        else:
            yield text


class _SmallestHashes:
    """Keeps the texts of the smallest hashes, about `limit` bytes of them: a sample that no order changes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.total = limit, 0
        self._heap: list[tuple[int, str]] = []
        self._numbers: set[int] = set()

    def add(self, number: int, text: str) -> None:
        if number in self._numbers:  # a copy
            return
        self._numbers.add(number)
        heapq.heappush(self._heap, (-number, text))
        self.total += num_bytes(text)
        while self.total - num_bytes(self._heap[0][1]) >= self.limit:
            dropped, dropped_text = heapq.heappop(self._heap)
            self._numbers.discard(-dropped)
            self.total -= num_bytes(dropped_text)

    def texts(self) -> list[str]:
        """The texts in the order of their hashes."""
        return [text for _, text in sorted(self._heap, reverse=True)]


def _in_shares(samples: dict[str, list[str]], shares: dict[str, float], training_bytes: int) -> dict[str, list[str]]:
    """Each sample shuffled and cut to its share of the largest mix that all of them can fill."""
    sizes = {name: sum(map(num_bytes, pieces)) for name, pieces in samples.items()}
    total = min(training_bytes, *(sizes[name] / shares[name] for name in samples))
    chosen: dict[str, list[str]] = {}
    for name, pieces in samples.items():
        shuffled = random.Random(SEED).sample(pieces, len(pieces))
        filled, chosen[name] = 0, []
        for piece in shuffled:
            if filled >= total * shares[name]:
                break
            chosen[name].append(piece)
            filled += num_bytes(piece)
    return chosen
