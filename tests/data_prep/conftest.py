"""A tokenizer and a prepared dataset that several tests share."""

import pytest
from made_texts import CHINESE, ENGLISH, make_document
from small_recipe import make_recipe, write_corpus

from data_prep.pipeline import prepare
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from data_prep.tokenizers.train import train_bpe


@pytest.fixture(scope="session")
def tokenizer_model() -> bytes:
    texts = [make_document(seed, language) for seed in range(60) for language in ("en", "zh")]
    return train_bpe([ENGLISH, CHINESE, *texts], 700)


@pytest.fixture(scope="session")
def tokenizer(tokenizer_model, tmp_path_factory) -> SentencePieceTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    path.write_bytes(tokenizer_model)
    return SentencePieceTokenizer(path)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    corpus = write_corpus(folder / "corpus")
    return make_recipe(corpus, folder)


@pytest.fixture(scope="session")
def results(recipe):
    return prepare(recipe)
