"""What a tokenizer makes of held-out text, as numbers that are defined here and nowhere else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data_prep.clean.units import HAN

HAN_RUN = re.compile(f"[{HAN}]+")
CHINESE_FROM_HAN_SHARE = 0.3
"""Text with this share of Han among its visible characters is Chinese: its fertility is per Han character."""
RENYI_ORDER = 2.5


class Encoder(Protocol):
    """A tokenizer as far as it is measured."""

    vocab_size: int

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """The ids of each text."""
        ...

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of ids."""
        ...


@dataclass(frozen=True)
class SourceFigures:
    """One tokenizer on the held-out documents of one source: counts, and the ratios made of them."""

    documents: int
    exact_documents: int
    """That come back as they were when their ids are decoded."""
    bytes: int
    characters: int
    tokens: int
    unknown_tokens: int
    words: int
    """Separated by white space."""
    han_characters: int
    han_tokens: int
    """Of the runs of Han characters alone."""
    is_chinese: bool

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes a token: higher is better, but only for a tokenizer that loses nothing."""
        return self.bytes / max(self.tokens, 1)

    @property
    def characters_per_token(self) -> float:
        """Higher is better; its inverse, tokens per character, is better when lower."""
        return self.characters / max(self.tokens, 1)

    @property
    def fertility(self) -> float:
        """Tokens per word (Rust et al. 2021), for Chinese tokens per Han character; lower is better."""
        if self.is_chinese:
            return self.han_tokens / max(self.han_characters, 1)
        return self.tokens / max(self.words, 1)

    @property
    def unknown_rate(self) -> float:
        """Share of tokens that stand for text the tokenizer cannot spell."""
        return self.unknown_tokens / max(self.tokens, 1)

    @property
    def exact_share(self) -> float:
        """Share of documents that come back exactly."""
        return self.exact_documents / max(self.documents, 1)


def measure(
    encoder: Encoder, unknown_id: int | None, documents: Sequence[str]
) -> tuple[SourceFigures, npt.NDArray[np.int64]]:
    """The figures of one source, and how often each id occurs: int64 [vocab_size]."""
    counts = np.zeros(encoder.vocab_size, dtype=np.int64)
    exact = han_tokens = 0
    for text in documents:
        (ids,) = encoder.encode_batch([text])
        counts += np.bincount(ids, minlength=encoder.vocab_size)
        exact += encoder.decode(ids) == text
        runs = HAN_RUN.findall(text)
        han_tokens += sum(map(len, encoder.encode_batch(runs))) if runs else 0
    han = sum(len(run) for text in documents for run in HAN_RUN.findall(text))
    visible = sum(not character.isspace() for text in documents for character in text)
    figures = SourceFigures(
        documents=len(documents),
        exact_documents=exact,
        bytes=sum(len(text.encode()) for text in documents),
        characters=sum(map(len, documents)),
        tokens=int(counts.sum()),
        unknown_tokens=0 if unknown_id is None else int(counts[unknown_id]),
        words=sum(len(text.split()) for text in documents),
        han_characters=han,
        han_tokens=han_tokens,
        is_chinese=han >= CHINESE_FROM_HAN_SHARE * max(visible, 1),
    )
    return figures, counts


def renyi_efficiency(frequencies: npt.NDArray[np.number], order: float = RENYI_ORDER) -> float:
    """Rényi entropy of the token distribution over the logarithm of the vocabulary (Zouhar et al. 2023).

    Args:
        frequencies: of all pieces of the vocabulary, [vocab_size], also those at 0; any scale.
        order: α; 2.5 went best with translation quality in the paper. Very frequent tokens lower it.
    """
    used = frequencies[frequencies > 0].astype(np.float64)
    if len(frequencies) < 2 or not len(used):
        return 0.0
    shares = used / used.sum()
    entropy = np.log(np.sum(shares**order)) / (1 - order)
    return float(entropy / np.log(len(frequencies)))


def mixed_bytes_per_token(figures: Mapping[str, SourceFigures], shares: Mapping[str, float]) -> float:
    """Bytes a token of a mix of which each source makes up its share of bytes: a harmonic mean."""
    return 1 / sum(share / figures[name].bytes_per_token for name, share in shares.items())


def mixed_frequencies(
    counts: Mapping[str, npt.NDArray[np.int64]], figures: Mapping[str, SourceFigures], shares: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """Occurrences of each id per byte of the mix, [vocab_size]."""
    return np.sum([share * counts[name] / max(figures[name].bytes, 1) for name, share in shares.items()], axis=0)
