"""Megatron ↔ Hugging Face weights of Llama-like models: one table of names and layouts, used in both directions.

Layouts (checked bitwise both ways in tests/checkpoints_tools/test_weight_map.py):
- linear_qkv keeps, for each key-value group, the rows of its query heads, then its key, then its value
  (megatron/core/transformer/attention.py), its bias alike; Hugging Face has three matrices, heads in the same order;
- linear_fc1 is [gate; up] (megatron/core/transformer/mlp.py);
- rotary embeddings rotate halves in both (Megatron's rotary_interleaved=False), so no rows are permuted;
- Megatron pads the vocabulary so that matrix products stay aligned; the padding is cut off here.

A `Row` is the unit of a conversion that streams: one Megatron weight and the one to three Hugging Face weights that it
becomes. Which of a model's features belong to which Hugging Face class: families.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, cat, empty

from megatron_recipe.errors import CheckpointError

if TYPE_CHECKING:
    from megatron_recipe.config import ModelConfig

Weights = Mapping[str, Tensor]
Reader = Callable[[str], Tensor]
"""Gives one weight by its name, whole."""


@dataclass(frozen=True)
class ModelShape:
    """What defines the names and shapes of a model's weights."""

    num_layers: int
    hidden_size: int
    ffn_hidden_size: int
    num_heads: int
    num_kv_groups: int
    head_dim: int
    vocab_size: int  # without padding
    tied_embeddings: bool
    qk_norm: bool = False
    qkv_bias: bool = False

    @classmethod
    def of(cls, model: "ModelConfig", vocab_size: int) -> "ModelShape":
        """The shape of a configured model. vocab_size: without padding."""
        return cls(
            model.num_layers,
            model.hidden_size,
            model.ffn_hidden_size,
            model.num_heads,
            model.num_kv_groups,
            model.head_dim,
            vocab_size,
            model.tied_embeddings,
            model.qk_norm,
            model.qkv_bias,
        )


def split_qkv(qkv: Tensor, shape: ModelShape) -> tuple[Tensor, ...]:
    """[(heads + 2 groups) × head_dim, …] → q [heads × head_dim, …], k and v [groups × head_dim, …].

    … is the hidden size of the matrix, and nothing of the bias.
    """
    queries = shape.num_heads // shape.num_kv_groups
    grouped = qkv.reshape(shape.num_kv_groups, queries + 2, shape.head_dim, *qkv.shape[1:])
    parts = (grouped[:, :queries], grouped[:, queries : queries + 1], grouped[:, queries + 1 :])
    return tuple(part.reshape(-1, *qkv.shape[1:]) for part in parts)


def join_qkv(parts: tuple[Tensor, ...], shape: ModelShape) -> Tensor:
    """The inverse of `split_qkv`."""
    rest = parts[0].shape[1:]
    grouped = [part.reshape(shape.num_kv_groups, -1, shape.head_dim, *rest) for part in parts]
    return cat(grouped, dim=1).reshape(-1, *rest)


def split_halves(gate_up: Tensor, shape: ModelShape) -> tuple[Tensor, ...]:
    """[2 × ffn, hidden] → gate and up, [ffn, hidden] each."""
    return gate_up.chunk(2)


def join_halves(parts: tuple[Tensor, ...], shape: ModelShape) -> Tensor:
    """The inverse of `split_halves`."""
    return cat(parts)


def keep(weight: Tensor, shape: ModelShape) -> tuple[Tensor, ...]:
    """One weight that both sides hold alike."""
    return (weight,)


def keep_joined(parts: tuple[Tensor, ...], shape: ModelShape) -> Tensor:
    """The inverse of `keep`."""
    return parts[0]


def cut_vocabulary(weight: Tensor, shape: ModelShape) -> tuple[Tensor, ...]:
    """[padded vocabulary, hidden] → [vocabulary, hidden]."""
    return (weight[: shape.vocab_size],)


class Row(NamedTuple):
    """One Megatron weight and the Hugging Face weights it becomes."""

    megatron: str
    hf: tuple[str, ...]
    split: Callable[[Tensor, ModelShape], tuple[Tensor, ...]] = keep
    join: Callable[[tuple[Tensor, ...], ModelShape], Tensor] = keep_joined


MODEL_ROWS = (
    Row("embedding.word_embeddings.weight", ("model.embed_tokens.weight",), cut_vocabulary),
    Row("decoder.final_layernorm.weight", ("model.norm.weight",)),
)
UNTIED_ROWS = (Row("output_layer.weight", ("lm_head.weight",), cut_vocabulary),)
LAYER_ROWS = (
    # Transformer Engine fuses the norms into the matrices behind them; checkpoints of all layers have its names
    Row("self_attention.linear_qkv.layer_norm_weight", ("input_layernorm.weight",)),
    Row(
        "self_attention.linear_qkv.weight",
        ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
        split_qkv,
        join_qkv,
    ),
    Row("self_attention.linear_proj.weight", ("self_attn.o_proj.weight",)),
    Row("mlp.linear_fc1.layer_norm_weight", ("post_attention_layernorm.weight",)),
    Row("mlp.linear_fc1.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight"), split_halves, join_halves),
    Row("mlp.linear_fc2.weight", ("mlp.down_proj.weight",)),
)
QK_NORM_ROWS = (
    Row("self_attention.q_layernorm.weight", ("self_attn.q_norm.weight",)),
    Row("self_attention.k_layernorm.weight", ("self_attn.k_norm.weight",)),
)
QKV_BIAS_ROWS = (
    Row(
        "self_attention.linear_qkv.bias",
        ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
        split_qkv,
        join_qkv,
    ),
)


def rows(shape: ModelShape) -> list[Row]:
    """The table for every weight of a model of this shape."""
    per_layer = (
        *LAYER_ROWS,
        *(QK_NORM_ROWS if shape.qk_norm else ()),
        *(QKV_BIAS_ROWS if shape.qkv_bias else ()),
    )
    table = [*MODEL_ROWS, *(() if shape.tied_embeddings else UNTIED_ROWS)]
    for layer in range(shape.num_layers):
        table += [
            row._replace(
                megatron=f"decoder.layers.{layer}.{row.megatron}",
                hf=tuple(f"model.layers.{layer}.{name}" for name in row.hf),
            )
            for row in per_layer
        ]
    return table


def megatron_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Shapes of the Megatron weights; the vocabulary without its padding."""
    hidden, heads = shape.hidden_size, shape.num_heads * shape.head_dim
    by_ending = {
        "word_embeddings.weight": (shape.vocab_size, hidden),
        "output_layer.weight": (shape.vocab_size, hidden),
        "linear_qkv.weight": (heads + 2 * shape.num_kv_groups * shape.head_dim, hidden),
        "linear_qkv.bias": (heads + 2 * shape.num_kv_groups * shape.head_dim,),
        "linear_proj.weight": (hidden, heads),
        "linear_fc1.weight": (2 * shape.ffn_hidden_size, hidden),
        "linear_fc2.weight": (hidden, shape.ffn_hidden_size),
        "q_layernorm.weight": (shape.head_dim,),
        "k_layernorm.weight": (shape.head_dim,),
        "norm_weight": (hidden,),
        "final_layernorm.weight": (hidden,),
    }
    return {row.megatron: next(v for end, v in by_ending.items() if row.megatron.endswith(end)) for row in rows(shape)}


def hf_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Shapes of the Hugging Face weights, in the order of `rows`. A tied model has no lm_head.weight."""
    whole = megatron_shapes(shape)
    return {
        name: tuple(part.shape)
        for row in rows(shape)
        # a tensor without memory goes through the very function that splits the weight
        for name, part in zip(row.hf, row.split(empty(whole[row.megatron], device="meta"), shape), strict=True)
    }


def hf_weights_of(row: Row, read: Reader, shape: ModelShape) -> dict[str, Tensor]:
    """The Hugging Face weights of one row (views where the layout allows). read: gives a Megatron weight by name."""
    return dict(zip(row.hf, row.split(read(row.megatron), shape), strict=True))


def megatron_weight_of(row: Row, read: Reader, shape: ModelShape, padded_vocab_size: int) -> Tensor:
    """The Megatron weight of one row, its vocabulary padded with zero rows. read: gives a Hugging Face weight by name.

    padded_vocab_size: rows of the vocabulary's matrices; other weights don't depend on it.
    """
    joined = row.join(tuple(read(name) for name in row.hf), shape)
    if has_vocabulary(row) and padded_vocab_size > shape.vocab_size:
        joined = cat([joined, joined.new_zeros(padded_vocab_size - shape.vocab_size, joined.shape[1])])
    return joined


def has_vocabulary(row: Row) -> bool:
    """Whether Megatron pads the first dimension of this weight."""
    return row.split is cut_vocabulary


def check_weights(weights: Weights, shape: ModelShape) -> None:
    """Raise CheckpointError unless these are the weights of a model of this shape; the vocabulary may be padded."""
    wanted = megatron_shapes(shape)
    missing, surplus = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    if missing or surplus:
        parts = [
            f"{word} {names[0]} ({len(names)} in all)"
            for word, names in (("lacks", missing), ("has", surplus))
            if names
        ]
        raise CheckpointError(
            f"not the weights of a Llama-like model with {shape}: the checkpoint {' and '.join(parts)}; "
            "only models of `megatron-recipe train` can be converted"
        )
    for row in rows(shape):
        name, expected, found = row.megatron, wanted[row.megatron], tuple(weights[row.megatron].shape)
        padded = has_vocabulary(row) and found[1:] == expected[1:] and found[0] > expected[0]
        if found != expected and not padded:
            raise CheckpointError(
                f"{name} has shape {list(found)}, but {list(expected)} was expected of {shape}; "
                "the checkpoint's weights and its description don't belong together"
            )
