"""The exported tokenizer gives SentencePiece's ids for every text, also after saving and loading."""

import shutil

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from small_dataset import AWKWARD, CHINESE, documents
from transformers import AutoTokenizer

from checkpoints_tools.hf_tokenizer import convert_tokenizer, count_id_differences, last_merge
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from megatron_recipe.errors import CheckpointError

EOD = 1


@pytest.fixture(scope="module")
def model_file(dataset):
    return dataset / "tokenizer/tokenizer.model"


@pytest.fixture(scope="module")
def folder(model_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("tokenizer")
    convert_tokenizer(model_file, out, eod_id=EOD, max_length=64)
    return out


@pytest.fixture(scope="module")
def pair(model_file, folder):
    return SentencePieceTokenizer(model_file), AutoTokenizer.from_pretrained(folder)


def ids_of(tokenizer, text: str) -> list[int]:
    return tokenizer(text, verbose=False)["input_ids"]


def test_ids_are_equal_on_real_and_on_awkward_text(model_file, folder):
    texts = [*AWKWARD, "", " ", *(text for text, _, _ in documents())]
    assert count_id_differences(model_file, folder, texts) == (0, len(texts))


RUNS = st.lists(st.tuples(st.sampled_from("ab-=_. \n\t▁汉字的一😀\x00é1"), st.integers(1, 30)), max_size=30)


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(
        st.text(st.characters(exclude_categories=["Cs"])), RUNS.map(lambda runs: "".join(c * n for c, n in runs))
    )
)
def test_ids_are_equal_and_the_text_comes_back(pair, text):
    reference, tokenizer = pair
    ids = ids_of(tokenizer, text)
    assert ids == reference.encode(text)
    assert tokenizer.decode(ids) == text


def test_a_difference_would_be_counted(model_file, folder):
    """The count compares the texts it is given: another model's ids are differences."""
    other = shutil.copytree(folder, folder.parent / "other")
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    start = text.index('"merges"')
    (other / "tokenizer.json").write_text(text[:start] + '"merges": []}}', encoding="utf-8")
    assert count_id_differences(model_file, other, ["the and the", "x"]) == (1, 2)


def test_text_that_spells_a_special_token_stays_text_after_save_and_load(pair, tmp_path):
    reference, tokenizer = pair
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("<|end_of_document|>", "a<|unk|>b", " <|end_of_document|><|end_of_document|>"):
        for loaded in (tokenizer, again):
            ids = ids_of(loaded, text)
            assert EOD not in ids and 0 not in ids
            assert ids == reference.encode(text)
            assert loaded.decode(ids) == text


def test_special_tokens_have_their_ids_and_nothing_is_added(pair):
    _, tokenizer = pair
    assert tokenizer.eos_token == tokenizer.bos_token == tokenizer.pad_token == "<|end_of_document|>"
    assert (tokenizer.eos_token_id, tokenizer.unk_token_id, len(tokenizer)) == (EOD, 0, 500)
    assert ids_of(tokenizer, "") == []
    assert tokenizer.decode([EOD, *ids_of(tokenizer, CHINESE)], skip_special_tokens=True) == CHINESE


def test_the_last_merge_follows_scores_and_then_position():
    scores = {"ab": -1.0, "bc": -2.0, "abc": -3.0, "aa": 0.0, "aaa": -4.0, "aaaa": -5.0}
    assert last_merge("abc", scores) == ("ab", "c")
    assert last_merge("aaa", scores) == ("aa", "a")
    assert last_merge("aaaa", scores) == ("aa", "aa")
    assert last_merge("bcd", scores) == ("bc", "d")
    assert last_merge("xyz", scores) is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"model_type": "unigram"}, "model_type"),
        ({"byte_fallback": False}, "byte_fallback"),
        ({"add_dummy_prefix": True}, "add_dummy_prefix"),
        ({"normalization_rule_name": "nmt_nfkc"}, "normalization_rule_name"),
        ({"user_defined_symbols": ["<tool>"]}, "user_defined_symbols"),
    ],
)
def test_settings_that_would_not_be_reproduced_are_refused(tmp_path, setting, words):
    wanted = {
        "model_type": "bpe",
        "byte_fallback": True,
        "add_dummy_prefix": False,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "vocab_size": 350,
        "hard_vocab_limit": False,
        "minloglevel": 2,
    }
    texts = [text for text, _, language in documents() if language == "en"][:20]
    with (tmp_path / "m.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(" ".join(texts).split("\n")), model_writer=file, **{**wanted, **setting}
        )
    with pytest.raises(CheckpointError, match=words):
        convert_tokenizer(tmp_path / "m.model", tmp_path / "out", eod_id=EOD, max_length=64)
    assert not (tmp_path / "out").exists()
