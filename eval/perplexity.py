"""Held-out loss, perplexity and bits per byte of a model, by set, source and language, with bootstrap intervals.

Run: megatron-recipe eval perplexity MODEL --dataset DIR --out FILE

The text is read as in training: documents one after the other, each ended by the end-of-document token, in windows
of the model's sequence length whatever the documents' borders; or each document by itself. Every token of every
document is predicted once, its end included; the first is predicted from an end-of-document.

Loss is the mean in nats per token, perplexity its exponent. Bits per byte, nats / (ln 2 × UTF-8 bytes of the text),
is the one that compares models with different tokenizers (Gao et al. 2020, arXiv 2101.00027, section 3.1).
"""

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from checkpoints_tools.held_out import Document
from checkpoints_tools.hf_folder import load_hf_model, load_hf_tokenizer
from data_prep.manifest import read_manifest
from eval.device import choose_device, device_name, evaluation_dtype
from eval.intervals import bootstrap_interval
from eval.unigram import unigram_counts, unigram_loss
from eval.validation_sets import read_documents
from eval.windows import token_losses
from megatron_recipe.errors import CheckpointError, ConfigError, DataError

DOCUMENTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Reading:
    """How the text is read: windows at once, tokens from one window to the next, and what a stream is."""

    batch_size: int
    length: int | None = None
    """Tokens of a window; None: the model's sequence length."""
    stride: int | None = None
    """None: the window's length, so that windows do not overlap."""
    by_document: bool = False
    """Each document by itself, as lm-eval reads; else one after the other, as training does."""
    max_tokens: int | None = None
    """Random documents, always the same, of as many tokens at most; None reads all."""


@dataclass(frozen=True)
class TokenizedDocument:
    """A held-out document with its tokens, end-of-document included."""

    document: Document
    tokens: npt.NDArray[np.int64]

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the text."""
        return len(self.document.text.encode())


def evaluate_perplexity(
    model_dir: Path, dataset_dir: Path, *, batch_size: int, max_tokens: int | None = None
) -> dict[str, Any]:
    """Evaluate a Hugging Face folder on a dataset's validation split; returns what eval/perplexity.json holds.

    batch_size, max_tokens: see `Reading`.
    Raises CheckpointError for a folder that holds no model, DataError for a dataset without held-out text.
    """
    return evaluate_sets(model_dir, {"validation": dataset_dir}, Reading(batch_size, max_tokens=max_tokens))


def evaluate_sets(model_dir: Path, sets: Mapping[str, Path], reading: Reading) -> dict[str, Any]:
    """Evaluate a Hugging Face folder on named held-out texts (see `eval.validation_sets`).

    Raises CheckpointError for a folder that holds no model, DataError for a set without text, ConfigError for a
    stride that the model does not allow.
    """
    started = time.monotonic()
    manifests = {name: read_manifest(path) for name, path in sets.items() if path.is_dir()}
    tokenizer = load_hf_tokenizer(model_dir)
    eod = tokenizer.eos_token_id
    if eod is None:
        raise CheckpointError(
            f"{model_dir}: its tokenizer has no eos_token, which ends the documents; "
            "name one in its tokenizer_config.json"
        )
    device = choose_device()
    model = load_hf_model(model_dir, evaluation_dtype(device), device)
    reading = fitted(reading, model.config.max_position_embeddings)
    splits, sources, languages = {}, [], []
    for name, path in sets.items():
        documents = choose(tokenize(tokenizer, read_documents(path), eod), reading.max_tokens)
        if not any(one.bytes for one in documents):
            raise DataError(f"{path}: holds no text; a dataset needs a validation split")
        bar = unigram_bar(path, manifests.get(name), tokenizer, documents)  # first: it may lack a file
        nats = document_nats(model, documents, eod, reading)
        whole = measure(documents, nats)
        splits[name] = {"path": str(path), **whole, "perplexity": math.exp(whole["loss"]), "unigram_loss": bar}
        sources += by(documents, nats, name, lambda one: {"source": one.source, "language": one.language})
        languages += by(documents, nats, name, lambda one: {"language": one.language})
    return {
        "dataset": ", ".join(map(str, sets.values())),
        "model": str(model_dir),
        "splits": splits,
        "by_source": sources,
        "by_language": languages,
        "window": {"length": reading.length, "stride": reading.stride, "by_document": reading.by_document},
        "device": device_name(device),
        "seconds": round(time.monotonic() - started, 1),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def fitted(reading: Reading, longest: int) -> Reading:
    """The reading with its length and stride, for a model that reads `longest` tokens. Raises ConfigError."""
    length = longest if reading.length is None else reading.length
    if not 0 < length <= longest:
        raise ConfigError(f"--length={length} must be 1 to {longest}, the model's sequence length")
    stride = length if reading.stride is None else reading.stride
    if not 0 < stride <= length:
        raise ConfigError(f"--stride={stride} must be 1 to {length}, the window's length")
    return replace(reading, length=length, stride=stride)


def document_nats(
    model: Any, documents: Sequence[TokenizedDocument], eod: int, reading: Reading
) -> npt.NDArray[np.float64]:
    """Sum of the losses of each document's tokens in nats, [documents]; the reading is a `fitted` one."""
    length, stride = reading.length or 0, reading.stride or 0
    start = np.array([eod])
    tokens = [one.tokens for one in documents]
    if reading.by_document:
        streams = [np.concatenate([start, some]) for some in tokens]
        losses = token_losses(model, streams, length, stride, reading.batch_size)
        return np.array([some.sum() for some in losses])
    (all_losses,) = token_losses(model, [np.concatenate([start, *tokens])], length, stride, reading.batch_size)
    summed: npt.NDArray[np.float64] = np.add.reduceat(all_losses, np.cumsum([0, *map(len, tokens[:-1])]))
    return summed


def tokenize(tokenizer: Any, documents: Iterable[Document], eod: int) -> list[TokenizedDocument]:
    """Tokens of each document, ended by `eod`."""
    kept = list(documents)
    result = []
    for start in range(0, len(kept), DOCUMENTS_AT_ONCE):
        batch = kept[start : start + DOCUMENTS_AT_ONCE]
        encoded = tokenizer([document.text for document in batch], add_special_tokens=False, verbose=False)
        for document, ids in zip(batch, encoded["input_ids"], strict=True):
            result.append(TokenizedDocument(document, np.array([*ids, eod], dtype=np.int64)))
    return result


def choose(documents: list[TokenizedDocument], max_tokens: int | None) -> list[TokenizedDocument]:
    """Random documents, always the same, of `max_tokens` together at most (at least one document); all for None."""
    if max_tokens is None:
        return documents
    order = list(range(len(documents)))
    random.Random(0).shuffle(order)
    sizes = np.cumsum([len(documents[index].tokens) for index in order])
    fitting = max(1, int(np.searchsorted(sizes, max_tokens, side="right")))
    return [documents[index] for index in sorted(order[:fitting])]


def measure(documents: list[TokenizedDocument], nats: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Counts, loss and bits per byte of some documents, not all empty, whose losses sum to `nats` each, [documents].

    Intervals are of 95 %, over documents; None for a single one.
    """
    tokens = np.array([len(one.tokens) for one in documents], dtype=np.float64)
    sizes = np.array([one.bytes for one in documents], dtype=np.float64)
    bits = nats / math.log(2)
    return {
        "documents": len(documents),
        "tokens": int(tokens.sum()),
        "bytes": int(sizes.sum()),
        "loss": float(nats.sum() / tokens.sum()),
        "loss_interval": bootstrap_interval(nats, tokens),
        "bits_per_byte": float(bits.sum() / sizes.sum()),
        "bits_per_byte_interval": bootstrap_interval(bits, sizes),
    }


def by(
    documents: list[TokenizedDocument],
    nats: npt.NDArray[np.float64],
    name: str,
    labels: Callable[[Document], dict[str, str]],
) -> list[dict[str, Any]]:
    """`measure` for each group of a set's documents with the same labels, those with most bytes first."""
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for index, one in enumerate(documents):
        groups.setdefault(tuple(labels(one.document).items()), []).append(index)
    rows = [
        {"set": name, **dict(key), **measure([documents[i] for i in members], nats[members])}
        for key, members in groups.items()
        if any(documents[i].bytes for i in members)
    ]
    return sorted(rows, key=lambda row: -row["bytes"])


def unigram_bar(
    path: Path, manifest: dict[str, Any] | None, tokenizer: Any, documents: list[TokenizedDocument]
) -> float | None:
    """The loss of unigram counts on the same tokens; None but for a dataset of the model's own tokenizer."""
    if manifest is None or not same_tokenizer(tokenizer, manifest):
        return None
    return unigram_loss(unigram_counts(path, manifest), np.concatenate([one.tokens for one in documents]))


def same_tokenizer(tokenizer: Any, manifest: dict[str, Any]) -> bool:
    """Whether the model's tokenizer is the one that the dataset was made with, by the manifest's golden ids."""
    facts = manifest["tokenizer"]
    golden = all(tokenizer(one["text"], verbose=False)["input_ids"] == one["ids"] for one in facts["golden"])
    return golden and len(tokenizer) == facts["vocab_size"]
