"""Shingles are what a plain set of substrings is, for every text and in every batch."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.dedup.shingles import batch_shingle_hashes, distinct, jaccard, normalised, shingle_hashes, shingle_set

TEXTS = st.lists(st.text(alphabet="ab中😀 ", max_size=30), min_size=1, max_size=8)


def plain(text, characters=5):
    """Substrings of the text, or the text itself where it is shorter."""
    return {text[i : i + characters] for i in range(max(len(text) - characters + 1, 1))}


@settings(deadline=None)
@given(texts=TEXTS, characters=st.integers(1, 7))
def test_a_batch_gives_each_texts_own_shingles(texts, characters):
    hashes, offsets = batch_shingle_hashes(texts, characters)
    assert offsets.tolist()[0] == 0
    assert offsets.tolist()[-1] == len(hashes)
    for number, text in enumerate(texts):
        own = hashes[offsets[number] : offsets[number + 1]]
        assert own.tolist() == shingle_hashes(text, characters).tolist()
        assert len(np.unique(own)) == len(plain(text, characters))


@settings(deadline=None)
@given(one=st.text(alphabet="abc中", max_size=40), other=st.text(alphabet="abc中", max_size=40))
def test_jaccard_is_that_of_the_sets_of_substrings(one, other):
    expected = len(plain(one) & plain(other)) / len(plain(one) | plain(other))
    assert jaccard(shingle_set(one), shingle_set(other)) == pytest.approx(expected)


def test_texts_are_compared_without_case_width_and_spacing():
    assert normalised("Ｔhe  QUICK\n\tfox，") == normalised("the quick fox,")
    assert normalised("Straße") == "strasse"


@settings(deadline=None)
@given(
    text=st.text(alphabet="aA中，：；？！（）％．－／…\u00a0\u3000\u0301\u0338é가\u11a8ﬁ① \n", max_size=40)
    | st.text(max_size=20)
)
def test_the_quick_way_of_folding_is_that_of_unicode(text):
    assert normalised(text) == " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@given(numbers=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=50))
def test_distinct_numbers_are_those_of_a_set(numbers):
    assert distinct(np.array(numbers, dtype=np.uint64)).tolist() == sorted(set(numbers))
