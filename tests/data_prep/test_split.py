"""The split depends on ids alone, and small corpora hold out more."""

import pytest

from data_prep.split import effective_share, held_out, is_held_out


def test_the_share_of_ids_is_held_out():
    ids = [f"doc{number}" for number in range(20_000)]
    held_out = {i for i in ids if is_held_out(i, 0.05, seed=1)}
    assert 900 < len(held_out) < 1100
    assert held_out == {i for i in reversed(ids) if is_held_out(i, 0.05, seed=1)}
    assert held_out != {i for i in ids if is_held_out(i, 0.05, seed=2)}
    assert held_out < {i for i in ids if is_held_out(i, 0.1, seed=1)}  # a larger share adds documents


def test_small_corpora_hold_out_a_larger_share_up_to_a_tenth():
    assert effective_share(0.02, 100_000_000) == 0.02
    assert effective_share(0.02, 4_000_000) == pytest.approx(0.05)
    assert effective_share(0.02, 100_000) == 0.1
    assert effective_share(0.3, 100_000) == 0.3


def test_many_ids_are_decided_as_each_alone():
    ids = [f"文/{number}" for number in range(2000)]
    for share in (0.0, 1e-19, 0.01, 0.5, 1.0):
        assert held_out(ids, share, 3).tolist() == [is_held_out(i, share, 3) for i in ids]
    assert held_out([], 0.5, 3).tolist() == []
