"""Trains or loads each tokenizer and measures it on the same held-out text."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.tokenizer_lab.cost import Cost, cost, model_1b
from data_prep.tokenizer_lab.kinds import KINDS
from data_prep.tokenizer_lab.metrics import (
    SourceFigures,
    measure,
    mixed_bytes_per_token,
    mixed_frequencies,
    renyi_efficiency,
)
from data_prep.tokenizer_lab.request import Request
from data_prep.tokenizer_lab.texts import Texts, num_bytes
from data_prep.tokenizers.fast_encoder import FastEncoder, load_encoder
from data_prep.tokenizers.hugging_face import UNKNOWN_TOKEN
from data_prep.tokenizers.load import load_reference
from data_prep.tokenizers.sentencepiece_tokenizer import UNKNOWN_PIECE
from megatron_recipe import console
from megatron_recipe.environment import environment_variable
from megatron_recipe.errors import DataError
from megatron_recipe.files import atomic_file

SPEED_BYTES = 1_000_000
SPEED_ROUNDS = 3


@dataclass(frozen=True)
class Candidate:
    """One tokenizer: `size` is what was asked for, and None for one that was there before."""

    name: str
    kind: str
    path: Path
    trained: bool
    seconds: float
    """Of its training."""


@dataclass(frozen=True)
class Measured:
    """A candidate with all that was measured of it."""

    candidate: Candidate
    vocab_size: int
    fingerprint: str
    sources: dict[str, SourceFigures]
    bytes_per_token: float
    """Of the mix."""
    renyi_efficiency: float
    """Of the mix."""
    unused_share: float
    """Of the vocabulary's pieces, in all held-out text."""
    bytes_per_second: float
    """As one worker of `data prepare` encodes."""
    cost: Cost

    @property
    def loses_text(self) -> bool:
        """It has tokens for text that it cannot spell, or changes a document."""
        return any(f.unknown_tokens or f.exact_documents < f.documents for f in self.sources.values())

    @property
    def flops_per_byte(self) -> float:
        """Operations of 1B training for a byte of the mix."""
        return self.cost.flops_per_byte(self.bytes_per_token)


def train_candidates(request: Request, texts: Texts, out: Path) -> Iterator[Candidate]:
    """Train every kind at every size into ``out/KIND-SIZE/``, then the existing ones.

    A kind that the text cannot fill at a size is left out with a warning.

    Raises:
        DataError: none could be trained and none is given.
    """
    refused: list[str] = []
    done = 0
    for kind in request.kinds:
        for size in request.sizes:
            console.say(f"train {kind} {size:,}")
            began = time.perf_counter()
            try:
                content = KINDS[kind].train(texts.train, size)
            except DataError as error:
                refused.append(f"{kind} {size:,}: {error}")
                console.warn(f"left out: {refused[-1]}")
                continue
            path = out / f"{kind}-{size}" / KINDS[kind].file_name
            with atomic_file(path, "wb") as file:
                file.write(content)
            done += 1
            yield Candidate(f"{kind} {size:,}", kind, path, True, time.perf_counter() - began)
    for path in request.existing:
        done += 1
        yield Candidate(f"{path.parent.name}/{path.name}", load_reference(path).kind, path, False, 0.0)
    if not done:
        raise DataError("no tokenizer could be trained on this text:\n" + "\n".join(refused))


def measure_candidate(candidate: Candidate, request: Request, texts: Texts) -> Measured:
    """Measure one tokenizer on all sources.

    Raises:
        DataError: the file is no tokenizer that `data prepare` takes.
    """
    encoder = load_encoder(candidate.path)
    reference = encoder.reference
    unknown_id = _unknown_id(candidate.path)
    figures, counts = {}, {}
    for name, documents in texts.held_out.items():
        figures[name], counts[name] = measure(reference, unknown_id, documents)
    frequencies = mixed_frequencies(counts, figures, request.shares)
    return Measured(
        candidate=candidate,
        vocab_size=reference.vocab_size,
        fingerprint=reference.fingerprint,
        sources=figures,
        bytes_per_token=mixed_bytes_per_token(figures, request.shares),
        renyi_efficiency=renyi_efficiency(frequencies),
        unused_share=float(np.mean(frequencies == 0)),
        bytes_per_second=_speed(encoder, texts),
        cost=cost(reference.vocab_size, model_1b()),
    )


def _unknown_id(path: Path) -> int | None:
    """The id that stands for text which cannot be spelled; None where there is none."""
    if path.suffix == ".json":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))
        token = getattr(tokenizer.model, "unk_token", None) or UNKNOWN_TOKEN
        return tokenizer.token_to_id(token)
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    return int(model.piece_to_id(UNKNOWN_PIECE)) if model.unk_id() < 0 else int(model.unk_id())


def _speed(encoder: FastEncoder, texts: Texts) -> float:
    """Bytes a second of the fastest round, on one core; a warm cache of words, as in a long run."""
    per_source = SPEED_BYTES // len(texts.held_out)
    documents: list[str] = []
    for held_out in texts.held_out.values():
        filled = 0
        for text in held_out:
            if filled >= per_source:
                break
            documents.append(text)
            filled += num_bytes(text)
    seconds = []
    with _one_thread():
        for _ in range(SPEED_ROUNDS):
            began = time.perf_counter()
            encoder.encode(documents)
            seconds.append(time.perf_counter() - began)
    return sum(map(num_bytes, documents)) / max(min(seconds), 1e-9)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps Hugging Face tokenizers to one thread, as the workers of `data prepare` are."""
    with environment_variable("TOKENIZERS_PARALLELISM", "false"):
        yield
