"""The kinds of tokenizers that can be trained, by the names of the command line."""

from collections.abc import Callable
from dataclasses import dataclass

from data_prep.tokenizers.hugging_face import train_byte_level_bpe, train_wordpiece
from data_prep.tokenizers.train import train_bpe, train_unigram, without_reserved


@dataclass(frozen=True)
class Kind:
    """How one kind is trained, and the file that `data prepare --tokenizer` takes."""

    train: Callable[[list[str], int], bytes]
    file_name: str


def _bpe(pieces: list[str], vocab_size: int) -> bytes:
    return train_bpe(list(without_reserved(pieces)), vocab_size)


def _unigram(pieces: list[str], vocab_size: int) -> bytes:
    return train_unigram(list(without_reserved(pieces)), vocab_size)


KINDS = {
    "sentencepiece-bpe": Kind(_bpe, "tokenizer.model"),
    "sentencepiece-unigram": Kind(_unigram, "tokenizer.model"),
    "byte-level-bpe": Kind(train_byte_level_bpe, "tokenizer.json"),
    "wordpiece": Kind(train_wordpiece, "tokenizer.json"),
}
