"""A SentencePiece model that gives back every text: batches to ids, ids to text, and what identifies the model.

``decode(encode(text)) == text`` holds for every text that UTF-8 can hold. Two things need care:

* SentencePiece writes a space as U+2581 (▁) and decodes U+2581 to a space, so that a real U+2581 in the text would come
  back as a space. It is encoded as its three bytes instead, which every model trained here has pieces for.
* A lone surrogate (half of a UTF-16 pair, which Python strings can hold and UTF-8 cannot) becomes U+FFFD.

Text never becomes a special token: ``<|end_of_document|>`` in a text is encoded as its characters.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.valid_unicode import valid_unicode
from megatron_recipe.errors import DataError

UNKNOWN_PIECE = "<|unk|>"
EOD_PIECE = "<|end_of_document|>"
EOD_NAMES = (EOD_PIECE, "<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "</s>")
"""What tokenizers call their end-of-document, in order of preference: ours, GPT-2 and Qwen, Llama 3, DeepSeek, Llama 2
and Mistral."""
WORD_MARK = "\u2581"

GOLDEN_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "def add(a, b):\n    return a + b\n",
    "不积跬步，无以至千里；不积小流，无以成江海。",
    "Mixed 中英文 text: 3.14159, 2024年。",
    "  two  spaces,\ttab, 😀 and <|end_of_document|> as text  ",
)
"""Texts whose ids a dataset's manifest records, so that a changed tokenizer is noticed."""


class SentencePieceTokenizer:
    """Wraps a ``tokenizer.model``.

    Args:
        path: the model file.

    Raises:
        DataError: the file is missing, is no SentencePiece model, or lacks the end-of-document or byte pieces.
    """

    def __init__(self, path: Path) -> None:
        import sentencepiece

        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"{path}: cannot read the tokenizer ({error.strerror}); name its folder, or the file itself"
            ) from error
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise DataError(f"{path}: not a SentencePiece model; copy or download it again") from error
        self.path = path
        self.kind = "sentencepiece"
        self.fingerprint = hashlib.sha256(content).hexdigest()
        """Hex SHA-256 of the model file."""
        self.vocab_size: int = self._model.get_piece_size()
        self.eod_id = self._eod_id()
        self._word_mark_ids = np.array([self._special(f"<0x{b:02X}>") for b in WORD_MARK.encode()], dtype=np.int32)

    def _eod_id(self) -> int:
        found = [i for i in map(self._model.piece_to_id, EOD_NAMES) if self._model.is_control(i)]
        if not found:
            raise DataError(
                f"{self.path}: the tokenizer has no end-of-document, none of {', '.join(EOD_NAMES)} is a control "
                "piece of it; train one with `data prepare`"
            )
        return int(found[0])

    def _special(self, piece: str) -> int:
        piece_id = int(self._model.piece_to_id(piece))
        if piece_id == self._model.unk_id():
            raise DataError(f"{self.path}: the tokenizer has no piece {piece!r}; train one with `data prepare`")
        return piece_id

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without an end-of-document."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """The ids of each text, int32, without an end-of-document."""
        valid = [valid_unicode(text) for text in texts]
        if not any(WORD_MARK in text for text in valid):
            return self._model.encode_as_numpy(valid)
        return [self._encode_around_marks(text) for text in valid]

    def _encode_around_marks(self, text: str) -> npt.NDArray[np.int32]:
        parts = self._model.encode_as_numpy(text.split(WORD_MARK))
        joined = [parts[0]]
        for part in parts[1:]:
            joined += [self._word_mark_ids, part]
        return np.concatenate(joined).astype(np.int32)

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of ids; special tokens give nothing."""
        return self._model.decode([int(i) for i in ids])

    def golden(self) -> list[dict[str, object]]:
        """Fixed texts with their ids, for a manifest."""
        return [{"text": text, "ids": self.encode(text)} for text in GOLDEN_TEXTS]
