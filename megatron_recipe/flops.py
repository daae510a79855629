"""Floating-point operations of a training step, and what share of a card's peak that is (MFU).

Two conventions are in use and differ by about five points for 1B at 4,096 tokens: *full* counts attention as if every
token saw the whole sequence (MosaicML, OLMo, nanochat), *causal* counts the half that is computed (Megatron-LM).
"""

from megatron_recipe.config import ModelConfig

# Dense BF16 peak in TFLOP/s by a part of the name that CUDA reports, from NVIDIA's data sheets (without sparsity).
# Longer names first: "H100 PCIe" must not be taken for "H100".
PEAK_TFLOPS: tuple[tuple[str, float], ...] = (
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.4),
    ("H200", 989.4),
    ("H800", 989.4),
    ("A100", 311.9),
    ("A800", 311.9),
    ("L40S", 362.0),
    ("RTX 4090", 165.2),
)


def peak_tflops(device_name: str) -> float | None:
    """Dense BF16 peak of a card, None where it is not in the table: an unknown peak is not guessed."""
    return next((peak for name, peak in PEAK_TFLOPS if name in device_name), None)


def padded_vocab_size(vocab_size: int, model: ModelConfig) -> int:
    """The tokenizer's vocabulary rounded up to a multiple of `model.vocab_multiple_of`."""
    return -(-vocab_size // model.vocab_multiple_of) * model.vocab_multiple_of


def matmul_parameters(model: ModelConfig, vocab_size: int) -> int:
    """Weights that take part in a matrix product for each token: all but the norms and the embedding's look-up."""
    attention = model.hidden_size * model.head_dim * (2 * model.num_heads + 2 * model.num_kv_groups)
    feed_forward = 3 * model.hidden_size * model.ffn_hidden_size
    return model.num_layers * (attention + feed_forward) + model.hidden_size * vocab_size


def flops_per_token(model: ModelConfig, vocab_size: int, *, causal: bool) -> float:
    """Forward and backward: 6 for each weight (Kaplan et al., arXiv:2001.08361) and 12·L·d·s for attention, or half."""
    attention = 12 * model.num_layers * model.num_heads * model.head_dim * model.sequence_length_tokens
    return 6 * matmul_parameters(model, vocab_size) + attention * (0.5 if causal else 1.0)


def parameter_count(model: ModelConfig, vocab_size: int) -> int:
    """All weights of a model whose (padded) vocabulary is `vocab_size`."""
    embeddings = 0 if model.tied_embeddings else model.hidden_size * vocab_size
    qk_norms = 2 * model.head_dim if model.qk_norm else 0
    norms = model.num_layers * (2 * model.hidden_size + qk_norms) + model.hidden_size
    return matmul_parameters(model, vocab_size) + embeddings + norms
