"""Held-out loss, perplexity and bits per byte of an exported model, in all and by source and language.

Run: megatron-recipe eval perplexity MODEL --dataset DIR --out FILE

The text is read as in training: documents one after the other, each ended by the end-of-document token, cut into
windows of the model's sequence length whatever the documents' borders. Every token of every document is predicted
once, its end included; the first is predicted from an end-of-document.

Loss is the mean in nats per token, perplexity its exponent. Bits per byte, nats / (ln 2 × UTF-8 bytes of the text),
is the one that compares models with different tokenizers (Gao et al. 2020, arXiv 2101.00027, section 3.1).
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from checkpoints_tools.held_out import Document, read_held_out
from checkpoints_tools.hf_folder import load_hf_model, load_hf_tokenizer
from data_prep.manifest import read_manifest
from eval.device import choose_device, device_name, evaluation_dtype
from eval.unigram import unigram_counts, unigram_loss
from megatron_recipe.console import progress
from megatron_recipe.errors import CheckpointError, DataError

DOCUMENTS_AT_ONCE = 1000


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

    batch_size: windows at once. max_tokens: None evaluates the whole split, else random documents (always the
    same) of as many tokens at most.
    Raises CheckpointError for a folder that holds no model, DataError for a dataset without held-out text.
    """
    started = time.monotonic()
    manifest = read_manifest(dataset_dir)
    tokenizer = load_hf_tokenizer(model_dir)
    eod = tokenizer.eos_token_id
    if eod is None:
        raise CheckpointError(f"{model_dir}: its tokenizer has no eos_token, which ends the documents")
    documents = choose(tokenize(tokenizer, read_held_out(dataset_dir), eod), max_tokens)
    if not documents:
        raise DataError(f"{dataset_dir}: validation.jsonl holds no document; prepare it with a validation split")
    device = choose_device()
    model = load_hf_model(model_dir, evaluation_dtype(device), device)
    tokens = np.concatenate([document.tokens for document in documents])
    losses = token_losses(model, np.concatenate([[eod], tokens]), model.config.max_position_embeddings, batch_size)
    by_document = np.add.reduceat(losses, np.cumsum([0, *(len(document.tokens) for document in documents[:-1])]))
    whole = measure(documents, by_document)
    known = same_tokenizer(tokenizer, manifest)
    unigram = unigram_loss(unigram_counts(dataset_dir, manifest), tokens) if known else None
    return {
        "dataset": str(dataset_dir),
        "model": str(model_dir),
        "splits": {"validation": {**whole, "perplexity": math.exp(whole["loss"]), "unigram_loss": unigram}},
        "by_source": by_source(documents, by_document),
        "device": device_name(device),
        "seconds": round(time.monotonic() - started, 1),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def tokenize(tokenizer: Any, documents: Iterator[Document], eod: int) -> list[TokenizedDocument]:
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


def token_losses(model: Any, stream: npt.NDArray[np.int64], length: int, batch_size: int) -> npt.NDArray[np.float64]:
    """Loss in nats of each token of `stream` but the first, in windows of `length` tokens, [len(stream) - 1]."""
    tokens = torch.from_numpy(stream)
    predicted = len(stream) - 1
    full = predicted // length * length
    inputs, labels = tokens[:full].view(-1, length), tokens[1 : full + 1].view(-1, length)
    batches = list(zip(inputs.split(batch_size), labels.split(batch_size), strict=True)) if full else []
    if full < predicted:
        batches.append((tokens[full:-1].unsqueeze(0), tokens[full + 1 :].unsqueeze(0)))
    losses = []
    with progress("held-out loss", predicted, "tokens") as advance, torch.inference_mode():
        for batch, label in batches:
            logits = model(batch.to(model.device), use_cache=False).logits.float()
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), label.flatten().to(model.device), reduction="none"
            )
            losses.append(loss.double().cpu().numpy())
            advance(batch.numel())
    return np.concatenate(losses)


def measure(documents: list[TokenizedDocument], nats: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Counts, loss and bits per byte of some documents whose losses sum to `nats` each, [documents]."""
    tokens = sum(len(document.tokens) for document in documents)
    size = sum(document.bytes for document in documents)
    total = float(nats.sum())
    return {
        "documents": len(documents),
        "tokens": tokens,
        "bytes": size,
        "loss": total / tokens,
        "bits_per_byte": total / math.log(2) / max(size, 1),
    }


def by_source(documents: list[TokenizedDocument], nats: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
    """`measure` for each source and language, those with most bytes first."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, one in enumerate(documents):
        groups.setdefault((one.document.source, one.document.language), []).append(index)
    rows = [
        {"source": source, "language": language, **measure([documents[i] for i in members], nats[members])}
        for (source, language), members in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["bytes"])


def same_tokenizer(tokenizer: Any, manifest: dict[str, Any]) -> bool:
    """Whether the model's tokenizer is the one that the dataset was made with, by the manifest's golden ids."""
    facts = manifest["tokenizer"]
    golden = all(tokenizer(one["text"], verbose=False)["input_ids"] == one["ids"] for one in facts["golden"])
    return golden and len(tokenizer) == facts["vocab_size"]
