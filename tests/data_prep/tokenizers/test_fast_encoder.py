"""The fast encoder's ids are the reference's for every text, and where they would not be, the run stops or is slow."""

import json
import random

import numpy as np
import pytest
from made_texts import make_document

from data_prep.tokenizers import fast_encoder
from data_prep.tokenizers.byte_level_tokenizer import ByteLevelTokenizer
from data_prep.tokenizers.fast_encoder import DIFFICULT_TEXTS, FastEncoder, load_encoder
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from data_prep.tokenizers.train import train_bpe
from megatron_recipe.errors import DataError

EOD = "<|endoftext|>"
ODD_TEXTS = (*DIFFICULT_TEXTS, "a\u2581b \u2581", "half \ud83d pair", "\ud83d\ude00", EOD, "x" * 30_000, "改" * 30_000)


def texts_of(seed):
    """Documents in both languages, and strings of pieces that tokenizers treat on their own."""
    generator = random.Random(seed)
    pieces = [
        "a",
        "'s",
        " ",
        "  ",
        "\n",
        "\t",
        "\r",
        "\0",
        "中",
        "，",
        "9",
        "０",
        "é",
        "\u0301",
        "😀",
        "\u00a0",
        "<|",
        "ſ",
    ]
    strings = ["".join(generator.choices(pieces, k=generator.randrange(40))) for _ in range(300)]
    return [*(make_document(seed + i, "zh" if i % 2 else "en", 6) for i in range(60)), *strings]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A SentencePiece BPE model and a byte-level BPE tokenizer.json of the same made texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("models")
    texts = texts_of(1)
    (folder / "tokenizer.model").write_bytes(train_bpe([text for text in texts if text.isprintable()], 600))
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[EOD], initial_alphabet=alphabet, show_progress=False)
    byte_level.train_from_iterator(texts, trainer)
    byte_level.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(params=["tokenizer.model", "tokenizer.json"])
def path(models, request):
    return models / request.param


def rows(batch):
    return [ids.tolist() for ids in np.split(batch.ids, np.cumsum(batch.lengths)[:-1])]


def test_ids_are_the_references(path):
    encoder = load_encoder(path)
    assert encoder._fast is not None, "gigatoken must be what is tested here"
    texts = [*texts_of(5), *ODD_TEXTS]
    replaced = [fast_encoder.valid_unicode(text) for text in texts]
    assert rows(encoder.encode(texts)) == [ids.tolist() for ids in encoder.reference.encode_batch(replaced)]
    plain = [text for text in texts if fast_encoder._is_plain(text)]
    assert rows(encoder.encode(plain)) == [ids.tolist() for ids in encoder.reference.encode_batch(plain)]
    assert len(encoder.encode([]).ids) == 0


def test_a_text_never_becomes_a_special_token(path):
    encoder = load_encoder(path)
    (ids,) = rows(encoder.encode([f"{EOD}<|end_of_document|>"]))
    assert encoder.eod_id not in ids
    assert len(ids) > 10


def test_the_words_kept_by_gigatoken_are_dropped_in_time(path, monkeypatch):
    monkeypatch.setattr(fast_encoder, "RENEWED_AFTER_CHARACTERS", 1000)
    encoder = load_encoder(path)
    first = encoder._fast
    texts = texts_of(3)
    assert rows(encoder.encode(texts)) == [ids.tolist() for ids in encoder.reference.encode_batch(texts)]
    assert encoder._fast is not first


def other_merges(models):
    """The content of the tokenizer.json without its last 100 merges: equal ids for few texts only."""
    content = json.loads((models / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["merges"] = content["model"]["merges"][:-100]
    return content


def test_a_tokenizer_that_gigatoken_gets_wrong_is_left_to_the_reference(models, capsys):
    reference = ByteLevelTokenizer(models / "tokenizer.json")
    wrong = other_merges(models)
    wrong["model"]["merges"] = wrong["model"]["merges"][:10]
    encoder = FastEncoder(reference, wrong)
    assert "gigatoken" in "".join(capsys.readouterr())
    texts = texts_of(2)
    assert rows(encoder.encode(texts)) == [ids.tolist() for ids in reference.encode_batch(texts)]


def test_a_difference_in_a_batch_stops_the_run(models, monkeypatch):
    monkeypatch.setattr(fast_encoder, "DIFFICULT_TEXTS", ("a",))
    encoder = FastEncoder(ByteLevelTokenizer(models / "tokenizer.json"), other_merges(models))
    with pytest.raises(RuntimeError, match="other ids than the reference"):
        for _ in range(20):
            encoder.encode(texts_of(2)[:60])


def test_a_unigram_model_is_left_to_sentencepiece(tmp_path, capsys):
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts_of(1)[:60]),
        model_writer=model,
        model_type="unigram",
        vocab_size=1000,
        byte_fallback=True,
        hard_vocab_limit=False,
        control_symbols=["<|end_of_document|>"],
        minloglevel=2,
    )
    (tmp_path / "unigram.model").write_bytes(model.getvalue())
    encoder = load_encoder(tmp_path / "unigram.model")
    assert "slower" in "".join(capsys.readouterr())
    texts = ["some words", "", "中文"]
    expected = SentencePieceTokenizer(tmp_path / "unigram.model").encode_batch(texts)
    assert rows(encoder.encode(texts)) == [ids.tolist() for ids in expected]


def test_a_file_that_is_no_tokenizer_is_named(tmp_path, models):
    with pytest.raises(DataError, match="cannot read the tokenizer"):
        load_encoder(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match=r"not a tokenizer\.json"):
        load_encoder(tmp_path / "bad.json")
    content = (models / "tokenizer.json").read_text(encoding="utf-8").replace(EOD, "<other>")
    (tmp_path / "no_eod.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="no end-of-document token"):
        load_encoder(tmp_path / "no_eod.json")
