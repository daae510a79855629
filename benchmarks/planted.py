"""Documents with copies planted among them, whose true similarity is known: the ground truth of the dedup benchmark."""

import random
from dataclasses import dataclass
from typing import Any

from data_prep.dedup.shingles import SHINGLE_CHARACTERS, normalised

NEAR, RELATED = 0.9, 0.6
MIN_CHARACTERS = 60
SHARE = 20
"""One document in so many gets a copy of each kind."""


@dataclass
class Planted:
    """All documents, the originals first, and the numbers of the copies of each kind."""

    records: list[dict[str, Any]]
    exact: list[int]
    near: list[int]
    related: list[int]


def jaccard(one: str, other: str) -> float:
    """Exact Jaccard similarity by Python sets of substrings; shares no code with what is measured but normalisation."""
    first, second = _substrings(normalised(one)), _substrings(normalised(other))
    return len(first & second) / len(first | second)


def _substrings(text: str) -> set[str]:
    return {text[i : i + SHINGLE_CHARACTERS] for i in range(max(len(text) - SHINGLE_CHARACTERS + 1, 1))}


def plant(records: list[dict[str, Any]], seed: int = 1) -> Planted:
    """Append exact copies, copies at Jaccard 0.9 and above, and relatives between 0.3 and 0.6 of random documents."""
    generator = random.Random(seed)
    long_enough = [r["text"] for r in records if len(normalised(r["text"])) >= MIN_CHARACTERS]
    alphabet = "".join(generator.choices("".join(long_enough[:200]), k=5000))
    chosen = generator.sample(long_enough, min(len(records) // SHARE, len(long_enough)))
    copies: dict[str, list[str]] = {"exact": [], "near": [], "related": []}
    for text in chosen:
        copies["exact"].append(text)
        copies["near"] += _changed(text, alphabet, generator, NEAR, 1.0)
        copies["related"] += _changed(text, alphabet, generator, 0.3, RELATED)
    planted = Planted(list(records), [], [], [])
    for kind, texts in copies.items():
        for text in texts:
            getattr(planted, kind).append(len(planted.records))
            planted.records.append({"text": text, "id": f"{kind}{len(planted.records)}", "metadata": {}})
    return planted


def _changed(text: str, alphabet: str, generator: random.Random, least: float, most: float) -> list[str]:
    """The text with scattered characters replaced, within least <= Jaccard < most; empty where no try gives that."""
    for _ in range(8):
        target = generator.uniform(least, most)
        # each replaced character takes its SHINGLE_CHARACTERS shingles: (n - 5k) / (n + 5k) = target
        count = max(round(len(text) * (1 - target) / (1 + target) / SHINGLE_CHARACTERS), 1)
        characters = list(text)
        for at in generator.sample(range(len(text)), min(count, len(text))):
            characters[at] = generator.choice(alphabet)
        changed = "".join(characters)
        if least <= jaccard(text, changed) < most:
            return [changed]
    return []


def varied(records: list[dict[str, Any]], count: int, seed: int = 1) -> Any:
    """Yield `count` documents: the given ones again and again, each with 0 to 60 % of its characters replaced."""
    generator = random.Random(seed)
    alphabet = "".join(record["text"] for record in records[:2000])
    for number in range(count):
        text = list(records[number % len(records)]["text"])
        for at in generator.choices(range(len(text)), k=int(len(text) * generator.uniform(0, 0.6))):
            text[at] = alphabet[int(generator.random() * len(alphabet))]
        yield {"text": "".join(text), "id": str(number), "metadata": {}}
