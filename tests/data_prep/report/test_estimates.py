"""Intervals hold what they promise, and a sample depends on nothing but its seed."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from datatrove.data import Document
from hypothesis import given
from hypothesis import strategies as st

from data_prep.report.estimates import mean, share, total_by_ratio, wilson
from data_prep.report.inputs import ExactCopies
from data_prep.report.sampling import choose, read_chosen, shards


@given(st.integers(1, 5000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_wilson_ends_are_the_shares_that_lie_196_errors_away(counts: tuple[int, int]) -> None:
    count, of = counts
    low, high = wilson(count, of)
    assert 0 <= low <= count / of <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            error = (end * (1 - end) / of) ** 0.5
            assert abs(count / of - end) == pytest.approx(1.959964 * error, rel=1e-4)


def test_wilson_of_a_known_case() -> None:
    assert wilson(10, 100) == pytest.approx((0.05523, 0.17437), abs=1e-5)  # Newcombe 1998, method 3 by hand


def test_intervals_of_means_and_totals_hold_95_percent() -> None:
    generator = np.random.default_rng(1)
    whole_bytes = generator.lognormal(6, 1, 4000)
    whole_characters = whole_bytes * generator.uniform(0.3, 1, 4000)
    held = np.zeros(2)
    for _ in range(400):
        sample = generator.choice(4000, 300, replace=False)
        average = mean(whole_characters[sample], 4000)
        total = total_by_ratio(whole_characters[sample], whole_bytes[sample], whole_bytes.sum(), 4000)
        held += average["low"] <= whole_characters.mean() <= average["high"]
        held[1] -= average["low"] <= whole_characters.mean() <= average["high"]
        held[1] += total["low"] <= whole_characters.sum() <= total["high"]
    assert (held / 400 > 0.9).all() and (held / 400 < 0.99).all()


def test_all_documents_give_no_interval() -> None:
    assert mean([1, 2, 3], 3) == {"value": 2.0, "low": 2.0, "high": 2.0, "exact": True}
    assert share(1, 4, exact=True)["low"] == share(1, 4, exact=True)["high"] == 0.25
    assert share(0, 0, exact=False)["value"] == 0


def write_shards(folder: Path, sizes: list[int]) -> Path:
    folder.mkdir()
    for rank, size in enumerate(sizes):
        records = [json.dumps({"id": f"{rank}-{i}", "text": "x" * i, "metadata": {}}) for i in range(size)]
        (folder / f"{rank:05d}.jsonl").write_text("".join(record + "\n" for record in records))
    return folder


def ids(folder: Path, size: int, seed: int) -> list[str]:
    population = shards("after", folder, 0, 0)
    return [text.id for _, text in read_chosen(population, choose(population, size, seed))]


def test_a_sample_is_as_large_as_asked_and_the_same_for_a_seed(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "a", [500, 0, 300, 1])
    first = ids(folder, 100, 7)
    assert len(first) == len(set(first)) == 100
    assert first == ids(folder, 100, 7) != ids(folder, 100, 8)
    assert len(ids(folder, 0, 7)) == len(ids(folder, 9999, 7)) == 801
    assert set(first) <= set(ids(folder, 200, 7))


def test_every_document_is_as_likely(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "a", [40, 10])
    seen = np.array([sum(id_.startswith("1-") for id_ in ids(folder, 10, seed)) for seed in range(300)])
    assert abs(seen.mean() - 2) < 4 * (seen.std() / 300**0.5)


def test_copies_are_counted_exactly_and_then_estimated() -> None:
    generator = random.Random(3)
    texts = [f"text {i}" for i in range(4000) for _ in range(generator.choice((1, 1, 1, 2, 5)))]
    generator.shuffle(texts)
    true = 1 - 4000 / len(texts)
    for limit, exact in ((10_000, True), (800, False)):
        copies = ExactCopies(limit)
        for text in texts:
            copies.see(Document(text=text.upper(), id="0"))
        rate = copies.rate()
        assert len(copies.counts) <= limit
        assert rate["exact"] is exact
        assert rate["low"] - 0.02 <= true <= rate["high"] + 0.02
        assert not exact or rate["value"] == pytest.approx(true)
