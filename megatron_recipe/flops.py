"""Floating-point operations of a training step, and what share of a card's peak that is (MFU).

Two conventions are in use and differ by about five points for 1B at 4,096 tokens: *full* counts attention as if every
token saw the whole sequence (MosaicML, OLMo, nanochat), *causal* counts the half that is computed (Megatron-LM).
"""

from megatron_recipe.config import ModelConfig
from megatron_recipe.plan import hardware
from megatron_recipe.plan.parameters import attention_weights, count_parameters, feed_forward_weights


def peak_tflops(device_name: str) -> float | None:
    """Dense BF16 peak of a card (plan/hardware.yaml); None where it is not there: an unknown peak is not guessed."""
    return hardware.peak_tflops(device_name)


def padded_vocab_size(vocab_size: int, model: ModelConfig) -> int:
    """The tokenizer's vocabulary rounded up to a multiple of `model.vocab_multiple_of`."""
    return -(-vocab_size // model.vocab_multiple_of) * model.vocab_multiple_of


def matmul_parameters(model: ModelConfig, vocab_size: int) -> int:
    """Weights that take part in a matrix product for each token: all but the norms and the embedding's look-up."""
    layer = attention_weights(model) + feed_forward_weights(model)
    return model.num_layers * layer + model.hidden_size * vocab_size


def flops_per_token(model: ModelConfig, vocab_size: int, *, causal: bool) -> float:
    """Forward and backward: 6 for each weight (Kaplan et al., arXiv:2001.08361) and 12·L·d·s for attention, or half."""
    attention = 12 * model.num_layers * model.num_heads * model.head_dim * model.sequence_length_tokens
    return 6 * matmul_parameters(model, vocab_size) + attention * (0.5 if causal else 1.0)


def parameter_count(model: ModelConfig, vocab_size: int) -> int:
    """All weights of a model whose (padded) vocabulary is `vocab_size`."""
    return count_parameters(model, vocab_size).total
