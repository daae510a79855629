"""Every text comes back, and text never becomes a special token."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.tokenizers.sentencepiece_tokenizer import EOD_PIECE, UNKNOWN_PIECE, SentencePieceTokenizer
from megatron_recipe.errors import DataError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
FRAGMENTS = ["▁", " ", "  ", "\n", "\t", "\0", "\r\n", "😀", "👩‍👩‍👧", "①", "ﬁ", "é", "中", "<0x0A>", "</s>"]
ODD = st.lists(st.sampled_from([*FRAGMENTS, EOD_PIECE, UNKNOWN_PIECE]), max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(text=TEXT | ODD)
@example(text="")
@example(text="   ")
@example(text="▁")
@example(text="▁▁ ▁a▁")
@example(text="\ufeffmark \u2028 \x85 \xa0")
@example(text="e\u0301 is not é")
def test_round_trip_is_lossless(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(text=ODD | TEXT)
def test_text_never_becomes_a_special_token(tokenizer, text):
    ids = tokenizer.encode(text + EOD_PIECE + UNKNOWN_PIECE + text)
    assert tokenizer.eod_id not in ids
    assert 0 not in ids


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(TEXT | ODD, max_size=6))
def test_a_batch_gives_the_ids_of_its_texts(tokenizer, texts):
    assert [ids.tolist() for ids in tokenizer.encode_batch(texts)] == [tokenizer.encode(text) for text in texts]


def test_a_lone_surrogate_becomes_the_replacement_character(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert tokenizer.decode(tokenizer.encode("a\ud83d\ude00b")) == "a😀b"  # a whole pair is its character


def test_digits_stand_alone(tokenizer):
    assert len(tokenizer.encode("20241231")) == 8


def test_an_end_of_document_decodes_to_nothing(tokenizer):
    assert tokenizer.decode([*tokenizer.encode("one"), tokenizer.eod_id, *tokenizer.encode("two")]) == "onetwo"


def test_special_ids_are_the_documented_ones(tokenizer):
    assert tokenizer.eod_id == 1
    assert tokenizer.vocab_size == 700


def test_golden_texts_are_recorded_with_their_ids(tokenizer):
    golden = tokenizer.golden()
    assert all(tokenizer.decode(entry["ids"]) == entry["text"] for entry in golden)
    assert any(EOD_PIECE in entry["text"] for entry in golden)


def test_a_file_that_is_no_model_is_named(tmp_path):
    path = tmp_path / "tokenizer.model"
    with pytest.raises(DataError, match="cannot read the tokenizer"):
        SentencePieceTokenizer(path)
    path.write_text("not a model")
    with pytest.raises(DataError, match="not a SentencePiece model"):
        SentencePieceTokenizer(path)


def train_other_model(path: Path, eos_id: int) -> Path:
    import sentencepiece

    with path.open("wb") as model:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["some text of another model"] * 20),
            model_writer=model,
            vocab_size=300,
            model_type="bpe",
            byte_fallback=True,
            minloglevel=2,
            hard_vocab_limit=False,
            eos_id=eos_id,
        )
    return path


def test_a_model_without_the_end_of_document_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no end-of-document, none of .*</s> is a control piece"):
        SentencePieceTokenizer(train_other_model(tmp_path / "other.model", eos_id=-1))


def test_an_existing_model_ends_documents_with_its_own_piece(tmp_path):
    tokenizer = SentencePieceTokenizer(train_other_model(tmp_path / "other.model", eos_id=2))
    assert tokenizer.eod_id == 2
    assert 2 not in tokenizer.encode("a </s> in a text")
