"""A byte-level BPE ``tokenizer.json`` (Hugging Face `tokenizers`), where text never becomes a special token.

`tokenizers` by itself turns the characters ``<|endoftext|>`` in a document into the end-of-document id, which cuts the
document in two for whoever trains on it; here they are encoded like any other text.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.tokenizers.sentencepiece_tokenizer import EOD_NAMES, GOLDEN_TEXTS
from megatron_recipe.errors import DataError


class ByteLevelTokenizer:
    """Wraps a ``tokenizer.json``.

    Args:
        path: the file.

    Raises:
        DataError: the file is missing, is no tokenizer.json, or has none of EOD_NAMES.
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"{path}: cannot read the tokenizer ({error.strerror}); name its folder, or the file itself"
            ) from error
        try:
            self._model = Tokenizer.from_buffer(content)
        except Exception as error:  # tokenizers raises nothing more specific
            raise DataError(f"{path}: not a tokenizer.json ({error}); copy or download it again") from error
        self._model.encode_special_tokens = True
        self.path = path
        self.kind = f"tokenizer.json ({type(self._model.model).__name__})"
        self.fingerprint = hashlib.sha256(content).hexdigest()
        """Hex SHA-256 of the file."""
        self.vocab_size: int = max(self._model.get_vocab(with_added_tokens=True).values()) + 1
        self.eod_id = self._eod_id()

    def _eod_id(self) -> int:
        found = [i for i in map(self._model.token_to_id, EOD_NAMES) if i is not None]
        if not found:
            raise DataError(
                f"{self.path}: the tokenizer has no end-of-document token; add one of {', '.join(EOD_NAMES)}"
            )
        return int(found[0])

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without an end-of-document."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """The ids of each text, int32, without an end-of-document; lone surrogates must be replaced before."""
        encoded = self._model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, dtype=np.int32) for one in encoded]

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of ids; special tokens give nothing."""
        return self._model.decode([int(i) for i in ids])

    def golden(self) -> list[dict[str, object]]:
        """Fixed texts with their ids, for a manifest."""
        return [{"text": text, "ids": self.encode(text)} for text in GOLDEN_TEXTS]
