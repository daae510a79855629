"""Training is repeatable, bounded, and says what to do when the vocabulary does not fit the text."""

import pytest
from made_texts import CHINESE, ENGLISH, make_document

from data_prep.tokenizers.train import RESERVED_PIECES, alphabet, sample, train_bpe, within_alphabet
from megatron_recipe.errors import DataError


def test_the_same_text_gives_the_same_bytes(tokenizer_model):
    texts = [make_document(seed, language) for seed in range(60) for language in ("en", "zh")]
    assert train_bpe([ENGLISH, CHINESE, *texts], 700) == tokenizer_model


def test_a_vocabulary_larger_than_the_text_supports_names_the_largest(tmp_path):
    with pytest.raises(DataError, match=r"vocab_size=5000 .* largest that works is (\d+)") as caught:
        train_bpe([ENGLISH] * 5, 5000)
    largest = int(str(caught.value).split("works is ")[1].split(";")[0])
    train_bpe([ENGLISH] * 5, largest)  # the number it names does work
    with pytest.raises(DataError):
        train_bpe([ENGLISH] * 5, largest + 1)


def test_no_text_is_an_error():
    with pytest.raises(DataError, match="no text to train"):
        train_bpe([], 700)


def test_a_small_vocabulary_works_with_more_chinese_characters_than_pieces():
    chinese = ["".join(chr(0x4E00 + i) for i in range(start, start + 50)) for start in range(0, 3000, 50)]
    assert train_bpe([*chinese, *[ENGLISH] * 40], 400)


def test_the_alphabet_takes_at_most_its_share_of_the_free_pieces():
    text = "".join(chr(0x4E00 + i) * (1000 - i) for i in range(1000))  # 1,000 characters, ever rarer
    assert alphabet([text], RESERVED_PIECES + 500) == {chr(0x4E00 + i) for i in range(200)}
    assert 980 < len(alphabet([text], 64_000)) < 1000  # all but what makes up one in ten thousand


def test_characters_outside_the_alphabet_cut_the_text():
    assert list(within_alphabet(["ab]c^d-e\\f", "zz"], set("abcdef]^-"))) == ["ab]c^d-e", "f"]


def test_a_sample_is_bounded_repeatable_and_spread_over_the_text():
    texts = [f"{number:05d} " * 500 for number in range(1000)]
    chosen = sample(iter(texts), 300_000, seed=1)
    assert 280_000 < sum(map(len, chosen)) < 320_000
    assert chosen == sample(iter(texts), 300_000, seed=1)
    assert chosen != sample(iter(texts), 300_000, seed=2)
    numbers = [int(piece[:5]) for piece in chosen]
    assert 400 < sum(numbers) / len(numbers) < 600  # not only the first documents


def test_text_with_separators_of_sentencepiece_is_not_lost():
    pieces = sample(["left\tright\0end ▁ and ▅ more"], 1000, seed=1)
    assert "".join(pieces) == "leftrightend  and  more"
