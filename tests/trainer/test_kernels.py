"""What `auto` comes to, from the configuration, the card and the packages that are there."""

from importlib.metadata import PackageNotFoundError

import pytest

from megatron_recipe import kernels
from megatron_recipe.kernels import Kernels, choose, planned
from megatron_recipe.recipes import load_config

HOPPER, AMPERE = (9, 0), (8, 0)


@pytest.fixture(autouse=True)
def packages_are_there(monkeypatch):
    monkeypatch.setattr(kernels, "distribution", lambda name: name)


@pytest.mark.parametrize(
    ("recipe", "sets", "card", "layer"),
    [
        ("gpt_1b", (), HOPPER, "fused"),
        ("gpt_1b", (), AMPERE, "engine"),
        ("gpt_1b", ("parallel.tensor=2",), HOPPER, "engine"),
        ("gpt_1b", ("kernels.layer=engine",), HOPPER, "engine"),
        ("gpt_1b", ("precision.dtype=fp32",), HOPPER, "engine"),
        ("gpt_1b_fp8", (), HOPPER, "fused"),
        ("gpt_1b_fp8", ("kernels.layer=fused",), HOPPER, "fused"),
    ],
)
def test_layers_are_fused_where_they_can_be(recipe, sets, card, layer):
    assert choose(load_config(recipe, sets), card).layer == layer


@pytest.fixture
def packages_are_missing(monkeypatch):
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(kernels, "distribution", missing)


def test_without_quack_bf16_is_not_fused_by_itself(packages_are_missing):
    assert choose(load_config("gpt_1b"), HOPPER).layer == "engine"
    assert choose(load_config("gpt_1b_fp8"), HOPPER).layer == "fused"


@pytest.mark.parametrize(
    ("sets", "card", "attention"),
    [
        ((), HOPPER, "flash"),
        ((), AMPERE, "auto"),
        (("parallel.context=2",), HOPPER, "auto"),
        (("precision.dtype=fp32",), HOPPER, "auto"),
        (("kernels.attention=cudnn",), HOPPER, "cudnn"),
    ],
)
def test_attention_is_flash_attention_where_it_can_be(sets, card, attention):
    assert choose(load_config("gpt_1b", sets), card).attention == attention


def test_without_flash_attention_it_is_transformer_engines(packages_are_missing):
    assert choose(load_config("gpt_1b"), HOPPER).attention == "auto"


@pytest.mark.parametrize(
    ("recipe", "sets", "card", "loss"),
    [
        ("gpt_1b_fp8", (), HOPPER, "fused"),
        ("gpt_1b", (), AMPERE, "engine"),
        ("gpt_1b", ("parallel.tensor=2",), HOPPER, "engine"),
        ("gpt_1b", ("precision.dtype=fp32",), HOPPER, "engine"),
        ("gpt_1b", ("precision.dtype=fp16",), HOPPER, "megatron"),
        ("gpt_1b", ("precision.dtype=fp16",), AMPERE, "megatron"),
        ("gpt_1b", ("kernels.loss=megatron",), HOPPER, "megatron"),
        ("gpt_1b", ("kernels.loss=engine",), HOPPER, "engine"),
    ],
)
def test_the_loss_is_in_one_pass_where_it_can_be(recipe, sets, card, loss):
    assert choose(load_config(recipe, sets), card).loss == loss


def test_hopper_cards_with_all_packages_have_all_that_is_fast():
    assert choose(load_config("gpt_1b"), HOPPER) == Kernels("fused", "flash", "fused")


def test_without_quack_the_loss_is_transformer_engines(packages_are_missing):
    assert choose(load_config("gpt_1b"), HOPPER).loss == "engine"


def test_a_plan_for_another_machine_takes_its_packages_to_be_there(packages_are_missing, monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    config = load_config("gpt_1b")
    assert (planned(config, HOPPER).kernels.layer, planned(config, AMPERE).kernels.layer) == ("fused", "engine")
    monkeypatch.setattr(kernels, "find_spec", lambda name: name)
    assert planned(config, HOPPER).kernels.layer == "engine"
