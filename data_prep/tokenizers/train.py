"""Trains SentencePiece tokenizers that lose nothing: BPE (Sennrich et al. 2016) and unigram (Kudo 2018).

Every character that is not in the alphabet is spelled in bytes (byte fallback), text is not normalised, no space is
added or removed, and digits stand alone, so that numbers are read digit by digit.
"""

import collections
import io
import random
import re
from collections.abc import Callable, Iterable, Iterator

from data_prep.tokenizers.sentencepiece_tokenizer import EOD_PIECE, UNKNOWN_PIECE
from megatron_recipe.errors import DataError

RESERVED_PIECES = 258
"""<|unk|>, <|end_of_document|> and 256 bytes."""
MAX_COVERAGE = 0.9999
MAX_ALPHABET_SHARE = 0.4
PIECE_CHARACTERS = 4000
# SentencePiece leaves out every training sentence with one of these: NUL, its two separators (tab and U+2585), and it
# would take U+2581 for a space
_RESERVED_CHARACTERS = re.compile("[\0\t\u2581\u2585]+")


def sample(texts: Iterable[str], max_characters: int, seed: int) -> list[str]:
    """A random sample of about `max_characters` characters in pieces of at most PIECE_CHARACTERS, in one pass.

    Reservoir sampling (algorithm R, Vitter 1985) over the pieces, so that long documents count by their length and
    memory is bounded whatever comes.
    """
    return reservoir(_pieces(texts), max_characters, seed)


def reservoir(pieces: Iterable[str], limit: int, seed: int, size: Callable[[str], int] = len) -> list[str]:
    """A random sample of pieces of about `limit` in `size` (characters by default), in one pass and bounded memory."""
    generator = random.Random(seed)
    chosen: list[str] = []
    total = 0
    for seen, piece in enumerate(pieces, 1):
        if total < limit:
            chosen.append(piece)
            total += size(piece)
        elif (place := generator.randrange(seen)) < len(chosen):
            chosen[place] = piece
    return chosen


def cut_to_pieces(texts: Iterable[str]) -> Iterator[str]:
    """The texts in pieces of at most PIECE_CHARACTERS; nothing is left out."""
    for text in texts:
        for start in range(0, len(text), PIECE_CHARACTERS):
            yield text[start : start + PIECE_CHARACTERS]


def without_reserved(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces cut at, and without, the characters that SentencePiece keeps for itself."""
    for piece in pieces:
        yield from filter(None, _RESERVED_CHARACTERS.split(piece))


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    return without_reserved(cut_to_pieces(texts))


def alphabet(pieces: Iterable[str], vocab_size: int) -> set[str]:
    """The characters that get a piece: the most frequent ones, up to MAX_COVERAGE of the text or 0.4 of the pieces.

    Chinese has thousands of characters: the installed corpus uses some 7,500, more than a vocabulary of 4,096 has room
    for, and SentencePiece refuses a `character_coverage` under 0.98. So the alphabet is chosen here. Rarer characters
    cost three byte pieces each; the other pieces are left for merges, which are what makes English, and frequent
    Chinese words, short. Measured on held-out text of that corpus with 4,096 pieces, in bytes per token of English and
    Chinese: 3.17 and 2.59 with a share of 0.3, 3.07 and 2.77 with 0.4, 2.95 and 2.88 with 0.5, 2.66 and 2.97 with 0.7.
    With 64,000 pieces it is MAX_COVERAGE that holds, and leaves out only characters seen once or twice.
    """
    counts = collections.Counter[str]()
    for piece in pieces:
        counts.update(piece)
    allowed = max(int((vocab_size - RESERVED_PIECES) * MAX_ALPHABET_SHARE), 1)
    uncovered = counts.total()
    enough = (1 - MAX_COVERAGE) * uncovered
    chosen: set[str] = set()
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:allowed]:
        if uncovered <= enough:
            break
        chosen.add(character)
        uncovered -= count
    return chosen


def within_alphabet(pieces: Iterable[str], characters: set[str]) -> Iterator[str]:
    """The pieces cut at, and without, the characters that are not in the alphabet."""
    kept = "".join(sorted(characters))
    others = re.compile(f"[^{re.escape(kept)}]+")
    for piece in pieces:
        yield from filter(None, others.split(piece))


def train_bpe(pieces: list[str], vocab_size: int) -> bytes:
    """Train a BPE model on `pieces` and return the content of a ``tokenizer.model``; same pieces, same bytes.

    Raises:
        DataError: there is no text, it does not support so many pieces, or its alphabet does not fit in them.
    """
    return _train(pieces, vocab_size, "bpe")


def train_unigram(pieces: list[str], vocab_size: int) -> bytes:
    """Train a unigram language model of pieces, otherwise as `train_bpe` does; its encoding is several times slower.

    Raises:
        DataError: as for `train_bpe`.
    """
    return _train(pieces, vocab_size, "unigram")


def _train(pieces: list[str], vocab_size: int, model_type: str) -> bytes:
    import sentencepiece

    if not pieces:
        raise DataError(
            "there is no text to train a tokenizer on: the training split is empty; "
            "give more text, or loosen the rules that removed it"
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=within_alphabet(pieces, alphabet(pieces, vocab_size)),
            model_writer=model,
            model_type=model_type,
            vocab_size=vocab_size,
            character_coverage=1.0,  # of the alphabet chosen above
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            split_digits=True,
            allow_whitespace_only_pieces=True,
            unk_id=0,
            unk_piece=UNKNOWN_PIECE,
            unk_surface="\ufffd",
            control_symbols=[EOD_PIECE],
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            max_sentence_length=8 * PIECE_CHARACTERS,
            num_threads=1,  # BPE gains nothing from more, and sums in unigram training would depend on their number
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explained(str(error), vocab_size) from error
    return model.getvalue()


def _explained(message: str, vocab_size: int) -> Exception:
    """SentencePiece's two complaints about the size of the vocabulary in our words; any other as it is."""
    if match := re.search(r"too high .* value <= (\d+)", message):
        return DataError(
            f"vocab_size={vocab_size} is more than the training text supports: the largest that works is "
            f"{match[1]}; lower --vocab-size or give more text"
        )
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return DataError(f"vocab_size={vocab_size} is too small for the text's alphabet; give at least {match[1]}")
    return RuntimeError(message)
