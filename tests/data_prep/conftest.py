"""A tokenizer that several tests share."""

import pytest
from made_texts import CHINESE, ENGLISH, make_document

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
