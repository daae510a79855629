"""Prove an export: logits of the Megatron model and of the Hugging Face folder on held-out text, both in FP32.

Run: megatron-recipe convert compare RUN_OR_CHECKPOINT EXPORT
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints_tools.held_out import read_held_out
from checkpoints_tools.hf_folder import load_hf_model, load_hf_tokenizer
from checkpoints_tools.megatron_logits import megatron_logits
from megatron_recipe.errors import DataError

# Measured 3.8e-6 on the demo's trained model; a wrong layout is off by 0.01 and more.
LARGEST_DIFFERENCE = 1e-4
COMPARED_TOKENS = 4096


@dataclass
class Differences:
    """Running differences of two models' logits over the same tokens."""

    documents: int = 0
    tokens: int = 0
    largest: float = 0.0
    absolute_sum: float = 0.0
    values: int = 0
    same_top1: int = 0
    kl_sum: float = 0.0

    def add(self, reference: Tensor, exported: Tensor) -> None:
        """Count one document. Both: FP32 logits [length, vocabulary]; `reference` may have padding columns."""
        reference = reference[:, : exported.shape[1]]
        difference = (reference - exported).abs()
        self.documents += 1
        self.tokens += len(exported)
        # max() of a NaN is NaN on one side of Python's max and not on the other
        self.largest = max(self.largest, float("inf") if difference.isnan().any() else difference.max().item())
        self.absolute_sum += difference.double().sum().item()
        self.values += difference.numel()
        self.same_top1 += int((reference.argmax(-1) == exported.argmax(-1)).sum())
        log_p, log_q = reference.double().log_softmax(-1), exported.double().log_softmax(-1)
        self.kl_sum += (log_p.exp() * (log_p - log_q)).sum().item()

    def verdict(self) -> dict[str, Any]:
        """The comparison as it stands in export.json; `kl` is KL(Megatron ‖ export) in nats a token."""
        agreement = self.same_top1 / self.tokens
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "max_abs_difference": self.largest,
            "mean_abs_difference": self.absolute_sum / self.values,
            "top1_agreement": agreement,
            "kl": self.kl_sum / self.tokens,
            "passed": self.largest < LARGEST_DIFFERENCE and agreement == 1.0,
        }


def compare_logits(
    checkpoint: Path, export: Path, dataset: Path, *, dtype: torch.dtype, max_tokens: int = COMPARED_TOKENS
) -> dict[str, Any]:
    """Compare a checkpoint with its export on the first held-out documents of a dataset, up to `max_tokens`.

    dtype: type of the exported weights, which the checkpoint's are rounded to, so that layouts and arithmetic are
    compared and not the rounding. Raises DataError for a dataset without held-out text.
    """
    model = load_hf_model(export, torch.float32)
    documents = held_out_tokens(load_hf_tokenizer(export), dataset, model.config.max_position_embeddings, max_tokens)
    reference = megatron_logits(checkpoint, documents, dtype)
    differences = Differences()
    with torch.inference_mode():
        for tokens, logits in zip(documents, reference, strict=True):
            differences.add(logits, model(tokens.unsqueeze(0)).logits[0])
    return differences.verdict()


def held_out_tokens(tokenizer: Any, dataset: Path, max_length: int, max_tokens: int) -> list[Tensor]:
    """Token ids of the first held-out documents, each cut to `max_length`, `max_tokens` in all."""
    chosen: list[Tensor] = []
    left = max_tokens
    for document in read_held_out(dataset):
        if left <= 0:
            break
        ids = tokenizer(document.text, verbose=False)["input_ids"][: min(max_length, left)]
        if ids:
            chosen.append(torch.tensor(ids))
            left -= len(ids)
    if not chosen:
        raise DataError(f"{dataset}: no held-out text to compare on; prepare it with a validation split")
    return chosen
