"""What a vocabulary costs in the 1B recipe: parameters, operations, and bytes of the dataset on disk."""

from dataclasses import dataclass

from data_prep.megatron_writer import dtype_for
from megatron_recipe.config import ModelConfig
from megatron_recipe.flops import flops_per_token, padded_vocab_size, parameter_count
from megatron_recipe.recipes import load_config

RECIPE = "gpt_1b"
LARGE_VOCABULARY = 150_000
"""About what the Qwen family has; the size that readers ask about."""


@dataclass(frozen=True)
class Cost:
    """Of one vocabulary in one model."""

    padded_vocab_size: int
    embedding_parameters: int
    """Input embedding and, where it is not tied, the output layer."""
    parameters: int
    flops_per_token: float
    """Of a training step, full convention."""
    output_flops_share: float
    """Share of them that the output layer takes."""
    bytes_per_token_on_disk: int
    sequence_length_tokens: int

    @property
    def embedding_share(self) -> float:
        """Embedding parameters among all."""
        return self.embedding_parameters / self.parameters

    def flops_per_byte(self, bytes_per_token: float) -> float:
        """Operations to train on one byte of text."""
        return self.flops_per_token / bytes_per_token


def model_1b() -> ModelConfig:
    """The model of the 1B recipe."""
    return load_config(RECIPE, ()).model


def cost(vocab_size: int, model: ModelConfig) -> Cost:
    """The cost of a vocabulary in `model`."""
    padded = padded_vocab_size(vocab_size, model)
    matrix = model.hidden_size * padded
    flops = flops_per_token(model, padded, causal=False)
    return Cost(
        padded_vocab_size=padded,
        embedding_parameters=matrix if model.tied_embeddings else 2 * matrix,
        parameters=parameter_count(model, padded),
        flops_per_token=flops,
        output_flops_share=6 * matrix / flops,
        bytes_per_token_on_disk=dtype_for(vocab_size).itemsize,
        sequence_length_tokens=model.sequence_length_tokens,
    )


@dataclass(frozen=True)
class Growth:
    """What a larger vocabulary adds to a smaller one in the same model."""

    small: Cost
    large: Cost

    @property
    def parameters(self) -> int:
        """Added parameters."""
        return self.large.parameters - self.small.parameters

    @property
    def parameter_share(self) -> float:
        """Added parameters over those of the smaller model."""
        return self.parameters / self.small.parameters

    @property
    def break_even(self) -> float:
        """By what share it must raise the bytes per token to train on a byte at the same cost."""
        return self.large.flops_per_token / self.small.flops_per_token - 1
