"""The n-grams are those of a plain loop over tokens, for any text and in any batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_ngrams import plain_ngrams, plain_tokens

from data_prep.decontaminate import ngrams as module
from data_prep.decontaminate.ngrams import LONG, SHORT, tokens_of

WORDS = st.sampled_from(["the", "cat", "sat", "中", "文", "字", "42", ", ", "é", "カ", "-", "\n", "\ud800", "々"])
TEXTS = st.lists(st.lists(WORDS, max_size=60).map(" ".join) | st.text(max_size=30), min_size=1, max_size=5)


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, weight=st.sampled_from([LONG, SHORT, 1]))
def test_a_batch_gives_each_texts_own_ngrams(texts, weight):
    found = tokens_of(texts).ngrams(weight)
    expected = [(number, one) for number, text in enumerate(texts) for one in plain_ngrams(text, weight)]
    assert found.text.tolist() == [number for number, _ in expected]
    by_hash = {}
    for value, (_, one) in zip(found.hashes.tolist(), expected, strict=True):
        assert by_hash.setdefault(value, one) == one
    assert len(by_hash) == len({one for _, one in expected})
    for start, end, (_, one) in zip(found.start, found.end, expected, strict=True):
        assert [token for token, _ in plain_tokens(found.joined[start:end])] == list(one)


def ngrams(texts, weight=LONG):
    return tokens_of(texts).ngrams(weight)


@pytest.mark.parametrize(("weight", "words", "characters"), [(LONG, 13, 20), (SHORT, 8, 13)])
def test_so_many_words_or_characters_are_one_ngram(weight, words, characters):
    text = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "then", "it", "runs", "away"]
    han = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收"
    for more in (-1, 0, 1):
        assert len(ngrams([" ".join(text[: words + more])], weight).hashes) == more + 1
        assert len(ngrams([han[: characters + more]], weight).hashes) == more + 1


def test_case_width_spacing_and_punctuation_do_not_matter():
    one = "The quick brown fox jumps over the lazy dog, and then it runs away; 今天天气很好。我们去公园散步吧！"
    other = "ＴＨＥ  quick\nbrown fox “jumps” over the lazy DOG and then it runs away 今天天气很好,我们去公园散步吧"
    assert ngrams([one]).hashes.tolist() == ngrams([other]).hashes.tolist()
    assert len(ngrams([one]).hashes) >= 10


def test_long_texts_have_the_ngrams_of_short_ones(monkeypatch):
    text = " ".join(f"word{i % 97}" for i in range(2000)) + "汉字" * 50
    short = ngrams([text])
    monkeypatch.setattr(module, "MANY_VALUES", 100)
    module._first_powers.cache_clear()
    assert np.array_equal(ngrams([text]).hashes, short.hashes)
    module._first_powers.cache_clear()


def test_nothing_has_no_ngrams():
    for texts in ([], [""], ["", "\n", "\ud800", "字"]):
        assert len(ngrams(texts).hashes) == len(ngrams(texts, SHORT).hashes) == 0
