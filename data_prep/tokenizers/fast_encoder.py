"""Batches of texts to ids with gigatoken, which is never trusted alone: the reference tokenizer checks it.

gigatoken (Rust; SIMD pre-tokenisation and a cache of words) reads a SentencePiece BPE model or a tokenizer.json and is
several times as fast as the libraries that these files are for. Three checks keep its ids theirs:

* when it is loaded, on texts chosen to be difficult; if it cannot read the model or one id differs, the reference
  encodes everything, and a warning says so;
* in every batch, on a window of one document; a difference stops the run, since earlier batches are written;
* texts that spell special tokens: gigatoken is loaded without them, so that it cannot find one in a text.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data_prep.tokenizers.byte_level_tokenizer import ByteLevelTokenizer
from data_prep.tokenizers.sentencepiece_tokenizer import EOD_PIECE, GOLDEN_TEXTS, WORD_MARK, SentencePieceTokenizer
from megatron_recipe import console

CHECKED_CHARACTERS = 2_000
"""Of each batch: 0.2 % of a million, which costs the reference some milliseconds."""
RENEWED_AFTER_CHARACTERS = 100_000_000
"""gigatoken's cache of words is never emptied and grew by 3.6 bytes for each byte of random Chinese (0.10.0). Loading
it anew takes a tenth of a second and bounds it: 300 MB of Chinese at worst leave 1.1 GB."""

DIFFICULT_TEXTS = (
    *GOLDEN_TEXTS,
    "",
    "\0",
    "a\0b",
    " ",
    "  \n\n\t x   \r\n\r\n ",
    " " * 300 + "x" + "\n" * 300,
    "ab" * 300,
    "中" * 300,
    "👨\u200d👩\u200d👧 e\u0301 é Å ﬁ ſ İ Ⅷ ² ٣٤ １２ 3.14",
    "\u00a0\u2003\u3000\u200b\ufeff\u2028\u2029\u2585",
    "it's WE'LL don’t can't'd",
    f"<|endoftext|>{EOD_PIECE}<|unk|><unk><s></s><pad><mask>[UNK]<0x41><|im_start|><|begin_of_text|>",
)


class Reference(Protocol):
    """The tokenizer whose ids are right: SentencePieceTokenizer or ByteLevelTokenizer."""

    path: Path
    kind: str
    fingerprint: str
    vocab_size: int
    eod_id: int

    def encode(self, text: str) -> list[int]:
        """The ids of one text."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """The ids of each text."""
        ...

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of ids."""
        ...

    def golden(self) -> list[dict[str, object]]:
        """Fixed texts with their ids."""
        ...


@dataclass(frozen=True)
class TokenBatch:
    """The ids of several documents in one array: uint32 or int32 `ids`, and int64 `lengths`, one a document."""

    ids: npt.NDArray[np.integer]
    lengths: npt.NDArray[np.int64]


class FastEncoder:
    """Encodes like `reference`, faster where gigatoken can.

    Args:
        reference: whose ids count.
        model: the same tokenizer as the content of a tokenizer.json; None where gigatoken has no such kind.
    """

    def __init__(self, reference: Reference, model: dict[str, Any] | None) -> None:
        self.reference = reference
        self.vocab_size = reference.vocab_size
        self.eod_id = reference.eod_id
        self._json = json.dumps(_without_special_tokens(model)) if model else ""
        self._batches = 0
        self._fast: Any = self._load() if model else None
        if self._fast is None:
            console.warn(f"{reference.path}: gigatoken does not give this tokenizer's ids; the slower library is used")

    def _load(self) -> Any:
        import gigatoken

        self._characters = 0
        try:
            fast = gigatoken.Tokenizer.from_json(self._json)
        except (ValueError, RuntimeError):  # a kind or a pattern that it does not know
            return None
        texts = [text for text in DIFFICULT_TEXTS if WORD_MARK not in text]
        expected = self.reference.encode_batch(texts)
        actual = fast.encode_batch(texts, parallel=False).tolist()
        return fast if actual == [ids.tolist() for ids in expected] else None

    def encode(self, texts: Sequence[str]) -> TokenBatch:
        """The ids of each text, without an end-of-document.

        Raises:
            RuntimeError: gigatoken's ids differ from the reference's. A bug there, so no RecipeError.
        """
        if not texts:
            return TokenBatch(np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.int64))
        if self._fast is None:
            return _joined(self._encode_slowly(texts))
        if _is_plain("".join(texts)):
            return self._encode_fast(texts)
        plain = [_is_plain(text) for text in texts]
        fast = _rows(self.encode([text for text, is_plain in zip(texts, plain, strict=True) if is_plain]))
        slow = iter(self._encode_slowly([text for text, is_plain in zip(texts, plain, strict=True) if not is_plain]))
        return _joined([next(fast) if is_plain else next(slow) for is_plain in plain])

    def _encode_slowly(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        return self.reference.encode_batch([valid_unicode(text) for text in texts])

    def _encode_fast(self, texts: Sequence[str]) -> TokenBatch:
        self._renew_if_grown(texts)
        self._check_window(texts)
        rows = self._fast.encode_batch(list(texts), parallel=False).layout
        bounds = np.asarray(rows.offsets.data)
        ids = np.asarray(rows.content.data)[bounds[0] : bounds[-1]]
        return TokenBatch(ids, np.diff(bounds).astype(np.int64))

    def _renew_if_grown(self, texts: Sequence[str]) -> None:
        self._characters += sum(map(len, texts))
        if self._characters > RENEWED_AFTER_CHARACTERS:
            self._fast = None  # freed before the new one is loaded
            self._fast = self._load()

    def _check_window(self, texts: Sequence[str]) -> None:
        self._batches += 1
        text = texts[self._batches * 7919 % len(texts)]
        start = self._batches * 104_729 % max(len(text) - CHECKED_CHARACTERS + 1, 1)
        window = text[start : start + CHECKED_CHARACTERS]
        expected = self.reference.encode_batch([window])[0].tolist()
        actual = self._fast.encode(window).tolist()
        if actual != expected:
            at = next((i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b), len(expected))
            raise RuntimeError(
                f"{self.reference.path}: gigatoken gives other ids than the reference tokenizer from token {at} of "
                f"{window[:80]!r}…: {actual[at : at + 5]} and not {expected[at : at + 5]}; nothing written by this run "
                "is to be used. Please report the text with the versions of gigatoken and the tokenizer"
            )


def load_encoder(path: Path) -> FastEncoder:
    """Load a SentencePiece ``.model`` or a ``tokenizer.json``.

    Raises:
        DataError: the file cannot be used; see the two tokenizers.
    """
    if path.suffix == ".json":
        return FastEncoder(ByteLevelTokenizer(path), json.loads(path.read_bytes()))
    # private, but the only way to the converted model before its special tokens are built in; the version is pinned
    from gigatoken._load.sentencepiece import sentencepiece_to_tokenizer_json

    reference = SentencePieceTokenizer(path)
    try:
        return FastEncoder(reference, json.loads(sentencepiece_to_tokenizer_json(path.read_bytes())))
    except ValueError:  # a unigram model, or one without byte pieces
        return FastEncoder(reference, None)


def valid_unicode(text: str) -> str:
    """The text with pairs of surrogates joined and lone ones, which UTF-8 cannot hold, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_special_tokens(model: dict[str, Any]) -> dict[str, Any]:
    kept = [token for token in model.get("added_tokens", []) if not token["special"]]
    return {**model, "added_tokens": kept, "post_processor": None}


def _is_plain(text: str) -> bool:
    """True unless the text has what the reference treats on its own: U+2581, or half of a UTF-16 pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return WORD_MARK not in text


def _joined(rows: Sequence[npt.NDArray[np.integer]]) -> TokenBatch:
    lengths = np.array([len(ids) for ids in rows], dtype=np.int64)
    return TokenBatch(np.concatenate(rows).astype(np.int32), lengths)


def _rows(batch: TokenBatch) -> Iterator[npt.NDArray[np.integer]]:
    yield from np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
