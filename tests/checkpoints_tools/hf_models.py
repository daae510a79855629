"""Tiny random models of every family, saved by transformers as its users have them."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from checkpoints_tools.megatron_checkpoint import CheckpointReader, checkpoint_facts, model_config
from checkpoints_tools.weight_map import ModelShape, hf_weights_of, rows

LAYERS, HIDDEN, HEADS, LENGTH = 2, 48, 6, 32
FAMILIES = {
    "llama": {},
    # lengths and factors that move all frequencies of such short heads and texts, each kind of them
    "llama3": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 3.0,
            "original_max_position_embeddings": 16,
        }
    },
    "qwen2": {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
    # heads wider than hidden / heads
    "qwen3": {"head_dim": 16, "rms_norm_eps": 1e-6},
    "mistral": {"sliding_window": LENGTH, "rms_norm_eps": 1e-3},
}


@dataclass(frozen=True)
class Case:
    """One model of the matrix."""

    family: str
    tied: bool
    groups: int
    vocab_size: int

    def __str__(self) -> str:
        return f"{self.family}_{'tied' if self.tied else 'untied'}_{self.groups}_{self.vocab_size}"

    def settings(self) -> dict[str, Any]:
        """Of transformers' configuration class."""
        return {
            "vocab_size": self.vocab_size,
            "hidden_size": HIDDEN,
            "intermediate_size": 80,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": self.groups,
            "max_position_embeddings": LENGTH,
            "initializer_range": 0.2,  # far from uniform logits, so that a wrong layout shows
            "tie_word_embeddings": self.tied,
            **FAMILIES[self.family],
        }


def classes(family: str) -> tuple[Any, Any]:
    """transformers' configuration and model of a family."""
    import transformers

    name = {"llama3": "Llama"}.get(family, family.capitalize())
    return getattr(transformers, f"{name}Config"), getattr(transformers, f"{name}ForCausalLM")


def matrix() -> list[Case]:
    """Family × tied × MHA, GQA, MQA with an odd vocabulary, which Megatron pads; GQA with one that it does not, too."""
    cases = ((6, 101), (2, 101), (1, 101), (2, 128))
    return [Case(family, tied, *one) for family, tied, one in itertools.product(FAMILIES, (True, False), cases)]


def build(case: Case, **changed: Any) -> Any:
    """The model; biases and norms are random too, which a fresh one's are not."""
    config, model = classes(case.family)
    torch.manual_seed(len(str(case)) + case.vocab_size + case.groups)
    built = model(config(**{**case.settings(), **changed})).eval()
    for name, weight in built.named_parameters():
        if name.endswith("bias"):
            weight.data.normal_(std=0.3)
        elif "norm" in name:
            weight.data.normal_(mean=1.0, std=0.2)
    return built


def save(model: Any, folder: Path, **how: Any) -> Path:
    """Save it as transformers does, quietly."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    os.environ.setdefault("TQDM_DISABLE", "1")
    model.save_pretrained(folder, **how)
    return folder


def exported(checkpoint: Path, described_by: Path | None = None) -> dict[str, torch.Tensor]:
    """The Hugging Face weights of a checkpoint. described_by: one of the same model, where it has no marker."""
    facts = checkpoint_facts(described_by or checkpoint)
    shape = ModelShape.of(model_config(facts), facts["vocab_size"])
    read = CheckpointReader(checkpoint).read
    return {name: weight for row in rows(shape) for name, weight in hf_weights_of(row, read, shape).items()}
