"""Trains with Hugging Face `tokenizers`: byte-level BPE (Radford et al. 2019) and WordPiece (Devlin et al. 2019).

Byte-level BPE starts from the 256 bytes, so it spells every text. WordPiece has whole characters, `[UNK]` for the rest,
and forgets where the spaces were: it is here to be compared with, and is no tokenizer for pretraining.
"""

import collections
import json
from collections.abc import Iterable
from typing import Any

from megatron_recipe.errors import DataError

EOD_TOKEN = "<|endoftext|>"
UNKNOWN_TOKEN = "[UNK]"
INSIDE_WORD = "##"
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""What merges stay within (the pattern of Qwen's tokenizers): a word with its space, a run of Chinese between
punctuation marks, one digit, a run of punctuation, of line breaks or of spaces. Splitting the Chinese from a Latin word
or a punctuation mark beside it too gave 0.4 % more tokens, and gigatoken has no fast reading of such a pattern."""
SEEN_AT_LEAST = 2
"""A merge must be seen that often; what is seen once says nothing about other text."""


def train_byte_level_bpe(pieces: list[str], vocab_size: int) -> bytes:
    """Train on `pieces` and return the content of a ``tokenizer.json``; same pieces, same bytes.

    Raises:
        DataError: there is no text, or it does not support so many pieces.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=SEEN_AT_LEAST,
        special_tokens=[EOD_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    return _train(tokenizer, trainer, pieces, vocab_size)


def train_wordpiece(pieces: list[str], vocab_size: int) -> bytes:
    """Train as for multilingual BERT (case kept, each Chinese character a word); returns a ``tokenizer.json``.

    Raises:
        DataError: there is no text, or it does not support so many pieces.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN_TOKEN))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=False, strip_accents=False, lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    characters = _frequent_characters(pieces, max(vocab_size // 3, 1))
    # the trainer numbers `##x` in the order of a hash map, which differs between runs, unless they are there before
    inside_words = [f"{INSIDE_WORD}{character}" for character in characters]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=SEEN_AT_LEAST,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        special_tokens=[UNKNOWN_TOKEN, EOD_TOKEN, *inside_words],
        continuing_subword_prefix=INSIDE_WORD,
        show_progress=False,
    )
    content = json.loads(_train(tokenizer, trainer, pieces, vocab_size))
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] in (UNKNOWN_TOKEN, EOD_TOKEN)]
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def _frequent_characters(pieces: Iterable[str], most: int) -> list[str]:
    """The most frequent characters but for spaces; of equally frequent ones, the lower code points."""
    counts = collections.Counter[str]()
    for piece in pieces:
        counts.update(piece)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [character for character, _ in ranked if not character.isspace()][:most]


def _train(tokenizer: Any, trainer: Any, pieces: list[str], vocab_size: int) -> bytes:
    if not pieces:
        raise DataError(
            "there is no text to train a tokenizer on: the training split is empty; "
            "give more text, or loosen the rules that removed it"
        )
    tokenizer.train_from_iterator(pieces, trainer)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if size != vocab_size:
        problem, largest = ("is more", "largest") if size < vocab_size else ("is less", "smallest")
        raise DataError(
            f"vocab_size={vocab_size} {problem} than the training text supports: the {largest} that works is {size}"
            + ("; lower it or give more text" if size < vocab_size else "")
        )
    return tokenizer.to_str(pretty=True).encode()
