"""Layouts of weights, both ways, bitwise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints_tools.weight_map import (
    ModelShape,
    hf_to_megatron,
    megatron_shapes,
    megatron_to_hf,
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


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_names_and_shapes_are_those_of_transformers(tied, qk_norm):
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    shape = ModelShape(2, 32, 48, 4, 2, 16, 50, tied, qk_norm)
    config, model = (Qwen3Config, Qwen3ForCausalLM) if qk_norm else (LlamaConfig, LlamaForCausalLM)
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
    ours = megatron_to_hf(random_megatron(shape), shape)
    assert {name: weight.shape for name, weight in ours.items()} == {n: w.shape for n, w in reference.items()}


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


def test_norms_of_the_local_spec_are_known_too():
    weights = random_megatron(SMALL)
    local = {
        name.replace("self_attention.linear_qkv.layer_norm_weight", "input_layernorm.weight").replace(
            "mlp.linear_fc1.layer_norm_weight", "pre_mlp_layernorm.weight"
        ): weight
        for name, weight in weights.items()
    }
    assert local.keys() != weights.keys()
    ours, theirs = megatron_to_hf(local, SMALL), megatron_to_hf(weights, SMALL)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


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
        megatron_to_hf(weights, SMALL)


def test_a_foreign_hugging_face_model_is_refused():
    hf = megatron_to_hf(random_megatron(SMALL), SMALL)
    del hf["model.layers.0.mlp.up_proj.weight"]
    with pytest.raises(CheckpointError, match=r"layers\.0\.mlp\.up_proj"):
        hf_to_megatron(hf, SMALL, 11)


def test_every_weight_stands_once_in_the_table():
    names = [name for row in rows(SMALL) for name in row.hf]
    assert len(names) == len(set(names)) == 3 + 9 * SMALL.num_layers
