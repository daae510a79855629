"""The tokens that two models are compared on: text of the user's, a dataset's held-out text, or random ids."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints_tools.held_out import read_held_out
from checkpoints_tools.hf_folder import load_hf_tokenizer
from megatron_recipe.errors import DataError

MOST_TOKENS, FEWEST_TOKENS = 4096, 64
# A forward pass takes 2 operations a parameter and token. This is 20 seconds for the two models together at the
# 60 GFLOP/s and more that two cores do in FP32: 256 tokens of a 1B, 64 of a 7B. Every weight takes part in each token.
OPERATIONS = 6e11
LARGEST_LOGITS = 2**26
"""Logits are kept for all tokens at once, in FP32: 256 MiB."""
LONGEST_ROW = 1024
"""Tokens of one sequence; more would cost attention's memory and prove nothing else."""
SEED = 1


@dataclass(frozen=True)
class ComparisonText:
    """Token ids, each row at most as long as the model's sequences, and in words where they are from."""

    rows: list[Tensor]
    origin: str


def default_token_count(parameters: int, vocab_size: int) -> int:
    """Tokens that two models of this size are compared on in minutes, unless the user says how many."""
    count = min(MOST_TOKENS, int(OPERATIONS / (2 * parameters)), LARGEST_LOGITS // vocab_size)
    return max(FEWEST_TOKENS, count // FEWEST_TOKENS * FEWEST_TOKENS)


def choose_text(
    tokenizer_folder: Path,
    text: Path | None,
    dataset: Path | None,
    *,
    vocab_size: int,
    max_length: int,
    max_tokens: int,
) -> ComparisonText:
    """Tokens of a file, else of a dataset's held-out text, else random ones.

    tokenizer_folder: a Hugging Face folder. Raises DataError for text that cannot be read or is none.
    """
    has_tokenizer = (tokenizer_folder / "tokenizer.json").is_file()
    if text is None and (dataset is None or not has_tokenizer):
        return random_tokens(vocab_size, max_length, max_tokens)
    if text is not None:
        origin, texts = str(text), iter(file_texts(text))
    else:
        assert dataset is not None, "checked above"
        origin, texts = f"the held-out text of {dataset}", (document.text for document in read_held_out(dataset))
    return text_tokens(load_hf_tokenizer(tokenizer_folder), texts, origin, max_length, max_tokens)


def text_tokens(tokenizer: Any, texts: Iterable[str], origin: str, max_length: int, max_tokens: int) -> ComparisonText:
    """The first `max_tokens` tokens of some texts, one text after the other, cut into rows.

    Raises DataError for text that has no token.
    """
    ids: list[int] = []
    for text in texts:
        if len(ids) >= max_tokens:
            break
        ids += tokenizer(text, verbose=False)["input_ids"]
    if not ids:
        raise DataError(f"{origin}: no text to compare on; give some with --text FILE")
    return ComparisonText(list(torch.tensor(ids[:max_tokens]).split(min(max_length, LONGEST_ROW))), origin)


def random_tokens(vocab_size: int, max_length: int, max_tokens: int) -> ComparisonText:
    """Random ids, for a model without a text of its own."""
    ids = torch.randint(vocab_size, (max_tokens,), generator=torch.Generator().manual_seed(SEED))
    return ComparisonText(list(ids.split(min(max_length, LONGEST_ROW))), "random token ids")


def file_texts(file: Path) -> list[str]:
    """The text of a UTF-8 file. Raises DataError where it cannot be read."""
    try:
        return [file.read_text(encoding="utf-8")]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--text {file}: cannot be read as UTF-8 text ({error})") from error
