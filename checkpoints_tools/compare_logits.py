"""Prove an export: hidden states and logits of the Megatron model and of the Hugging Face folder on the same tokens.

Run: megatron-recipe convert compare RUN_OR_CHECKPOINT EXPORT
Each side is read from disk one layer at a time, so models larger than the memory are compared too.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints_tools.families import read_hf_config
from checkpoints_tools.hf_logits import Config, StreamedHfModel, read_config, token_chunks
from checkpoints_tools.megatron_checkpoint import checkpoint_facts, model_config
from checkpoints_tools.megatron_logits import Reference, device_for, megatron_reference
from checkpoints_tools.safetensors_files import SafetensorsFolder
from megatron_recipe.errors import CheckpointError

Verdict = dict[str, Any]

# FP32: measured 3.8e-6 on the demo's trained model; a wrong layout is off by 0.01 and
# more. Larger logits are rounded more coarsely, so the limit grows with the largest of them.
LARGEST_DIFFERENCE = 1e-4
LARGEST_LOGIT_OF_LIMIT = 16.0
# BF16: the two sides round at different places (TransformerEngine#1132), so that near ties fall either way. A tie is
# what one step of BF16, 2 to the -7 of the best logit, can turn around. Measured on models of random weights, where
# ties are most frequent: agreement 0.97 and a KL of 0.001; with gate and up swapped in one layer 0.27 and 0.5.
BF16_TOP1_AGREEMENT, BF16_KL, BF16_STEP = 0.95, 0.01, 2.0**-7
STAGE_DIFFERS = {torch.float32: 1e-5, torch.bfloat16: 0.05}
"""Relative difference of hidden states by which a stage is named, where the comparison failed."""
CHUNK_TOKENS = 64
NOT_ARITHMETIC = {"sequence_length_tokens", "init_std", "vocab_multiple_of"}


@dataclass
class Differences:
    """Running differences of two models' logits over the same tokens."""

    arithmetic: torch.dtype = torch.float32
    tokens: int = 0
    largest: float = 0.0
    largest_logit: float = 0.0
    absolute_sum: float = 0.0
    values: int = 0
    same_top1: int = 0
    tied_top1: int = 0
    kl_sum: float = 0.0

    def add(self, reference: Tensor, exported: Tensor) -> None:
        """Count some tokens. Both: FP32 logits [tokens, vocabulary]; `reference` may have padding columns."""
        reference = reference[:, : exported.shape[1]]
        difference = (reference - exported).abs()
        self.tokens += len(exported)
        # max() of a NaN is NaN on one side of Python's max and not on the other
        self.largest = max(self.largest, float("inf") if difference.isnan().any() else difference.max().item())
        self.largest_logit = max(self.largest_logit, reference.abs().max().item())
        self.absolute_sum += difference.double().sum().item()
        self.values += difference.numel()
        best = reference.max(-1).values
        behind = best - reference.gather(1, exported.argmax(-1, keepdim=True)).squeeze(1)
        tie = LARGEST_DIFFERENCE / 2 if self.arithmetic == torch.float32 else BF16_STEP * best.abs()
        self.same_top1 += int((behind == 0).sum())
        self.tied_top1 += int(((behind > 0) & (behind <= tie)).sum())
        log_p, log_q = reference.double().log_softmax(-1), exported.double().log_softmax(-1)
        self.kl_sum += (log_p.exp() * (log_p - log_q)).sum().item()

    def verdict(self) -> Verdict:
        """The comparison as it stands in export.json; `kl` is KL(Megatron ‖ export) in nats a token.

        `top1_ties` is the share of tokens whose best token differs and is a tie within the rounding; they pass.
        """
        agreement, ties, kl = (total / self.tokens for total in (self.same_top1, self.tied_top1, self.kl_sum))
        allowed = LARGEST_DIFFERENCE * max(1.0, self.largest_logit / LARGEST_LOGIT_OF_LIMIT)
        if self.arithmetic == torch.float32:
            passed = self.largest < allowed and self.same_top1 + self.tied_top1 == self.tokens
        else:
            passed = agreement + ties >= BF16_TOP1_AGREEMENT and kl < BF16_KL
        return {
            "tokens": self.tokens,
            "arithmetic": str(self.arithmetic).removeprefix("torch."),
            "max_abs_difference": self.largest,
            "allowed_difference": allowed,
            "largest_logit": self.largest_logit,
            "mean_abs_difference": self.absolute_sum / self.values,
            "top1_agreement": agreement,
            "top1_ties": ties,
            "kl": kl,
            "passed": passed,
        }


def compare_logits(
    checkpoint: Path, hf_folder: Path, documents: list[Tensor], *, arithmetic: torch.dtype = torch.float32
) -> Verdict:
    """Compare a checkpoint with a Hugging Face folder on token ids, each document no longer than the model's sequences.

    The checkpoint's weights are rounded to the type of the folder's, so that layouts and arithmetic are compared and
    not the rounding. Raises CheckpointError for a side that cannot be loaded.
    """
    rounded_to = weights_dtype(hf_folder)
    read_config(hf_folder)  # before Megatron's minute
    with tempfile.TemporaryDirectory() as work:
        reference = megatron_reference(checkpoint, documents, Path(work), rounded_to=rounded_to, arithmetic=arithmetic)
        return compare_with_reference(reference, hf_folder)


def compare_with_reference(reference: Reference, hf_folder: Path, config: Config | None = None) -> Verdict:
    """Compare a folder with what Megatron computed.

    config: stands in for the folder's config.json, which an export writes last. Raises as `compare_logits`.
    """
    config = config or read_config(hf_folder)
    model = StreamedHfModel(hf_folder, config, reference.arithmetic, device_for(reference.arithmetic))
    distances: list[float] = []
    differences = Differences(reference.arithmetic)

    def seen(hidden: Tensor) -> None:
        expected = reference.hidden(len(distances))[reference.is_real]
        found = hidden.float().cpu()[reference.is_real]
        same_shape = expected.shape == found.shape
        distances.append(((expected - found).norm() / expected.norm()).item() if same_shape else float("nan"))

    with torch.inference_mode():
        hidden = model.hidden_states(reference.tokens, seen)
        model.output_weight()
        lengths = [int(row.sum()) for row in reference.is_real]
        for sequence, start, end in token_chunks(lengths, CHUNK_TOKENS):
            expected = reference.logits(sequence, start, end)
            differences.add(expected, model.logits(hidden[sequence, start:end]))
    config_problems = config_differences(reference.checkpoint, config)
    verdict = {"documents": len(lengths), **differences.verdict(), "config_differences": config_problems}
    verdict["passed"] = verdict["passed"] and not config_problems
    return {**verdict, "first_differing_layer": None if verdict["passed"] else _first_differing(reference, distances)}


def config_differences(checkpoint: Path, config: Config) -> list[str]:
    """Settings of config.json that change the arithmetic and are not the checkpoint's, also where no logit shows it."""
    facts = checkpoint_facts(checkpoint)
    ours = {**model_config(facts).model_dump(), "vocab_size": facts["vocab_size"]}
    try:
        # a window of attention is no difference for a model whose sequences are no longer
        read = read_hf_config(config, ours["sequence_length_tokens"])
    except CheckpointError as error:
        return [str(error)]
    theirs = {**read.model.model_dump(), "vocab_size": read.vocab_size}
    return [
        f"{name}={theirs[name]} in config.json, {ours[name]} in the checkpoint"
        for name in ours
        if name not in NOT_ARITHMETIC and ours[name] != theirs[name]
    ]


def weights_dtype(hf_folder: Path) -> torch.dtype:
    """Type of the weights of a Hugging Face folder. Raises CheckpointError where it has none, or of several types."""
    dtypes = {place.dtype for place in SafetensorsFolder(hf_folder).places.values()}
    if len(dtypes) != 1:
        raise CheckpointError(f"{hf_folder}: its weights have {len(dtypes)} types; export it again with to-hf")
    return dtypes.pop()


def _first_differing(reference: Reference, distances: list[float]) -> str:
    """The first stage whose hidden states are apart; `logits` where only those are."""
    limit = STAGE_DIFFERS[reference.arithmetic]
    names = ["embedding", *(f"layer {index}" for index in range(len(distances) - 2)), "final norm"]
    # a NaN is no smaller than the limit
    return next((name for name, distance in zip(names, distances, strict=True) if not distance <= limit), "logits")
