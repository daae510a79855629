"""What one transformer layer keeps for its backward pass, and what that pass needs beside it; bytes for each token.

Transformer Engine's layers (layernorm_linear.py, linear.py, dot_product_attention): a norm keeps its input, a linear
layer keeps its input as it was multiplied (a byte a value in FP8), flash attention keeps queries, keys, values, its
output and the logarithm of each softmax sum, SwiGLU keeps its input. RoPE keeps nothing: its backward pass turns back.
"""

from megatron_recipe.config import Config

LOG_SUM_BYTES = 4
FP8_BYTES = 1


def value_bytes(config: Config) -> int:
    """Of a weight or an activation outside FP8."""
    return 4 if config.precision.dtype == "fp32" else 2


def kept_bytes(config: Config, recompute: str) -> float:
    """Of one layer and token, on one rank, from the forward to the backward pass.

    Args:
        recompute: `none`; `selective` (SwiGLU's output is computed again, see recompute.py); `full`.
    """
    hidden = _hidden(config) * value_bytes(config)
    if recompute == "full":
        return hidden
    norms = 2 * (hidden + _hidden(config) * _operand_bytes(config))  # inputs and outputs
    gate_and_up = 2 * _activation(config) * value_bytes(config)
    return norms + _attention(config) + gate_and_up + _kept_activation(config, recompute)


def backward_bytes(config: Config, recompute: str) -> float:
    """What the backward pass of the last layer holds beside all that was kept, at the most.

    That is at SwiGLU: the gradients of its output and input, and of the residual and the normed input. The kept output
    of SwiGLU has been used by then. With full recompute, all that the layer did not keep is there too.
    """
    gradients = 3 * _activation(config) * value_bytes(config) + 2 * _hidden(config) * value_bytes(config)
    again = kept_bytes(config, "none") - kept_bytes(config, recompute) if recompute == "full" else 0
    return gradients + again - _kept_activation(config, recompute)


def gathered_bytes(config: Config) -> float:
    """Of one token, what a product holds of the whole sequence where sequence parallelism parts it.

    That is its gathered input and the gradient of it before it is parted again, in the layers as in the output layer.
    """
    return 2 * config.model.hidden_size * value_bytes(config) if config.parallel.sequence_parallel else 0


def _kept_activation(config: Config, recompute: str) -> float:
    """SwiGLU's output. In FP8 the second linear layer keeps its own copy, and selective recompute saves nothing.

    The fused layer keeps none: its backward product computes SwiGLU once more on its way (fused_layer.py).
    """
    if config.precision.fp8 == "off" and (recompute == "selective" or config.kernels.layer == "fused"):
        return 0
    if recompute == "full":
        return 0
    return _activation(config) * _operand_bytes(config)


def _attention(config: Config) -> float:
    model, layout = config.model, config.parallel
    queries = model.num_heads * model.head_dim / layout.tensor
    keys = model.num_kv_groups * model.head_dim / layout.tensor
    output = queries
    kept = (queries + 2 * keys + output) * value_bytes(config) + model.num_heads / layout.tensor * LOG_SUM_BYTES
    if model.qk_norm:
        kept += (queries + keys) * value_bytes(config)  # their norms' inputs
    if config.precision.fp8 == "delayed":
        # the projection's operand, beside attention's own BF16 output; other scalings quantise that one again
        kept += output * FP8_BYTES
    return kept


def _activation(config: Config) -> float:
    """Values of SwiGLU's output on one rank."""
    return config.model.ffn_hidden_size / config.parallel.tensor


def _hidden(config: Config) -> float:
    """Values of the residual stream on one rank: sequence parallelism splits it among the tensor-parallel ranks."""
    return config.model.hidden_size / (config.parallel.tensor if config.parallel.sequence_parallel else 1)


def _operand_bytes(config: Config) -> int:
    """Of a linear layer's kept input."""
    return value_bytes(config) if config.precision.fp8 == "off" else FP8_BYTES
