"""Layouts of weights, both ways, bitwise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_model import hf_to_megatron, megatron_to_hf

from checkpoints_tools.weight_map import (
    ModelShape,
    check_weights,
    hf_shapes,
    hf_weights_of,
    megatron_shapes,
    megatron_weight_of,
    rows,
    split_qkv,
)
from megatron_recipe.errors import CheckpointError

SMALL = ModelShape(2, 8, 12, 4, 2, 4, 11, tied_embeddings=False)


@st.composite
def shapes(draw: st.DrawFn) -> ModelShape:
    groups = draw(st.integers(1, 3))
    return ModelShape(
        num_layers=draw(st.integers(1, 3)),
        hidden_size=draw(st.integers(1, 9)),
        ffn_hidden_size=draw(st.integers(1, 7)),
        num_heads=groups * draw(st.integers(1, 3)),
        num_kv_groups=groups,
        head_dim=2 * draw(st.integers(1, 3)),
        vocab_size=draw(st.integers(1, 20)),
        tied_embeddings=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        qkv_bias=draw(st.booleans()),
    )


def random_megatron(shape: ModelShape, padding: int = 0) -> dict[str, torch.Tensor]:
    weights = {name: torch.randn(size) for name, size in megatron_shapes(shape).items()}
    for name in weights.keys() & {"embedding.word_embeddings.weight", "output_layer.weight"}:
        weights[name] = torch.cat([weights[name], torch.zeros(padding, shape.hidden_size)])
    return weights


@settings(max_examples=60, deadline=None)
@given(shape=shapes(), padding=st.integers(0, 5))
def test_both_ways_are_inverse_bitwise(shape, padding):
    megatron = random_megatron(shape, padding)
    hf = megatron_to_hf(megatron, shape)
    back = hf_to_megatron(hf, shape, shape.vocab_size + padding)
    assert back.keys() == megatron.keys()
    assert all(torch.equal(back[name], megatron[name]) for name in megatron)
    again = megatron_to_hf(back, shape)
    assert again.keys() == hf.keys()
    assert all(torch.equal(again[name], hf[name]) for name in hf)


@settings(max_examples=60, deadline=None)
@given(shape=shapes(), padding=st.integers(0, 5), data=st.data())
def test_rows_stream_what_the_whole_conversion_gives(shape, padding, data):
    """Row by row, in any order, each reading nothing but the weights that it names."""
    megatron = random_megatron(shape, padding)
    hf = megatron_to_hf(megatron, shape)
    assert hf_shapes(shape) == {name: tuple(weight.shape) for name, weight in hf.items()}
    for row in data.draw(st.permutations(rows(shape))):
        parts = hf_weights_of(row, {row.megatron: megatron[row.megatron]}.__getitem__, shape)
        assert tuple(parts) == row.hf and all(torch.equal(part, hf[name]) for name, part in parts.items())
        back = megatron_weight_of(row, parts.__getitem__, shape, shape.vocab_size + padding)
        assert torch.equal(back, megatron[row.megatron])


def test_padding_is_zero_rows_behind_the_vocabulary():
    hf = megatron_to_hf(random_megatron(SMALL), SMALL)
    for name in ("embedding.word_embeddings.weight", "output_layer.weight"):
        weight = hf_to_megatron(hf, SMALL, 16)[name]
        assert weight.shape == (16, 8) and not weight[11:].any() and weight[:11].abs().min() > 0


def test_biases_lie_as_their_matrix_does():
    """A row of the matrix and its bias stay together."""
    shape = ModelShape(1, 8, 12, 4, 2, 4, 11, tied_embeddings=True, qkv_bias=True)
    bias = torch.arange(32.0)
    matrix = bias.unsqueeze(1).expand(-1, 8)
    for of_matrix, of_bias in zip(split_qkv(matrix, shape), split_qkv(bias, shape), strict=True):
        assert torch.equal(of_matrix[:, 0], of_bias)


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Qwen3", "Mistral"])
@pytest.mark.parametrize("tied", [False, True])
def test_names_and_shapes_are_those_of_transformers(tied, family):
    import transformers

    shape = ModelShape(2, 32, 48, 4, 2, 16, 50, tied, qk_norm=family == "Qwen3", qkv_bias=family == "Qwen2")
    config, model = getattr(transformers, f"{family}Config"), getattr(transformers, f"{family}ForCausalLM")
    with torch.device("meta"):
        reference = model(
            config(
                vocab_size=50,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=16,
                tie_word_embeddings=tied,
            )
        ).state_dict()
    if tied:
        del reference["lm_head.weight"]
    assert hf_shapes(shape) == {name: tuple(weight.shape) for name, weight in reference.items()}


def test_qkv_rows_go_group_by_group():
    """Two groups of two query heads: the rows of a group are q, q, k, v."""
    head = torch.arange(8).repeat_interleave(SMALL.head_dim)
    q, k, v = split_qkv(head.unsqueeze(1).expand(-1, 3), SMALL)
    assert q[:: SMALL.head_dim, 0].tolist() == [0, 1, 4, 5]
    assert k[:: SMALL.head_dim, 0].tolist() == [2, 6]
    assert v[:: SMALL.head_dim, 0].tolist() == [3, 7]


def test_gate_comes_before_up():
    weights = random_megatron(SMALL)
    hf = megatron_to_hf(weights, SMALL)
    fc1 = weights["decoder.layers.1.mlp.linear_fc1.weight"]
    assert torch.equal(hf["model.layers.1.mlp.gate_proj.weight"], fc1[:12])
    assert torch.equal(hf["model.layers.1.mlp.up_proj.weight"], fc1[12:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda weights: weights.pop("decoder.layers.1.mlp.linear_fc2.weight"),
            "lacks decoder.layers.1.mlp.linear_fc2",
        ),
        (lambda weights: weights.update({"decoder.layers.2.mlp.router.weight": torch.zeros(1)}), "router"),
        (lambda weights: weights.update({"decoder.final_layernorm.weight": torch.zeros(9)}), r"\[9\].*\[8\]"),
        (lambda weights: weights.update({"embedding.word_embeddings.weight": torch.zeros(10, 8)}), r"\[10, 8\]"),
        (
            lambda weights: weights.update({"decoder.layers.0.self_attention.linear_proj.weight": torch.zeros(9, 16)}),
            "proj",
        ),
    ],
)
def test_another_architecture_is_refused(change, words):
    weights = random_megatron(SMALL)
    change(weights)
    with pytest.raises(CheckpointError, match=words):
        check_weights(weights, SMALL)


def test_every_weight_stands_once_in_the_table():
    names = [name for row in rows(SMALL) for name in row.hf]
    assert len(names) == len(set(names)) == 3 + 9 * SMALL.num_layers
