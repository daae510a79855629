"""What `auto` comes to, from the configuration, the card and the packages that are there."""

import pytest

from megatron_recipe import kernels
from megatron_recipe.kernels import Kernels, choose
from megatron_recipe.recipes import load_config

HOPPER, AMPERE = (9, 0), (8, 0)


@pytest.fixture(autouse=True)
def quack_is_there(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: name)


@pytest.mark.parametrize(
    ("recipe", "sets", "card", "layer"),
    [
        ("gpt_1b", (), HOPPER, "fused"),
        ("gpt_1b", (), AMPERE, "engine"),
        ("gpt_1b", ("parallel.tensor=2",), HOPPER, "engine"),
        ("gpt_1b", ("kernels.layer=engine",), HOPPER, "engine"),
        ("gpt_1b", ("precision.dtype=fp32",), HOPPER, "engine"),
        ("gpt_1b_fp8", (), HOPPER, "engine"),
        ("gpt_1b_fp8", ("kernels.layer=fused",), HOPPER, "fused"),
    ],
)
def test_layers_are_fused_where_they_can_be(recipe, sets, card, layer):
    assert choose(load_config(recipe, sets), card).layer == layer


def test_without_quack_nothing_is_fused_by_itself(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    assert choose(load_config("gpt_1b"), HOPPER).layer == "engine"


def test_the_loss_is_transformer_engines_where_it_reads_the_type():
    assert choose(load_config("gpt_1b"), HOPPER) == Kernels("fused", "auto", "engine")
    assert choose(load_config("gpt_1b", ("precision.dtype=fp16",)), AMPERE).loss == "megatron"
    assert choose(load_config("gpt_1b", ("kernels.loss=megatron",)), HOPPER).loss == "megatron"
