"""Both directions of the weight map for a whole model in memory."""

from collections.abc import Mapping

from torch import Tensor

from checkpoints_tools.weight_map import ModelShape, hf_weights_of, megatron_weight_of, rows


def megatron_to_hf(weights: Mapping[str, Tensor], shape: ModelShape) -> dict[str, Tensor]:
    """The Hugging Face weights of a Megatron model."""
    read = weights.__getitem__
    return {name: weight for row in rows(shape) for name, weight in hf_weights_of(row, read, shape).items()}


def hf_to_megatron(weights: Mapping[str, Tensor], shape: ModelShape, padded_vocab_size: int) -> dict[str, Tensor]:
    """The Megatron weights of a Hugging Face model."""
    read = weights.__getitem__
    return {row.megatron: megatron_weight_of(row, read, shape, padded_vocab_size) for row in rows(shape)}
