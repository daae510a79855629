"""Loads a tokenizer file as the class that defines its ids."""

from pathlib import Path

from data_prep.tokenizers.byte_level_tokenizer import ByteLevelTokenizer
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer


def load_reference(path: Path) -> SentencePieceTokenizer | ByteLevelTokenizer:
    """A ``tokenizer.json`` by its suffix, else a SentencePiece model.

    Raises:
        DataError: the file is missing or is no such tokenizer.
    """
    return ByteLevelTokenizer(path) if path.suffix == ".json" else SentencePieceTokenizer(path)
