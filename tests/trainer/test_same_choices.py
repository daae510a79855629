"""Ranks that would train differently are told apart before anything is exchanged."""

from types import SimpleNamespace

import pytest

from megatron_recipe import same_choices
from megatron_recipe.errors import MachineError
from megatron_recipe.kernels import Kernels
from megatron_recipe.recipes import load_config
from megatron_recipe.same_choices import difference, require_same_choices

FUSED = {"kernels.layer": "fused", "batch.micro_batch_size_samples": 8}


def test_equal_choices_are_fine():
    assert difference([FUSED, dict(FUSED)]) is None


def test_the_rank_and_both_choices_are_named():
    said = difference([FUSED, FUSED, {**FUSED, "kernels.layer": "engine"}])
    assert said is not None
    assert "rank 0 has chosen kernels.layer=fused and rank 2 kernels.layer=engine" in said
    assert "set kernels.layer itself" in said
    assert difference([FUSED, {"batch.micro_batch_size_samples": 8}]) is not None  # a rank without the package


def test_a_rank_whose_trial_failed_stops_all(monkeypatch):
    fused = Kernels(layer="fused", attention="flash", loss="engine")
    monkeypatch.setattr(same_choices, "chosen_kernels", lambda config: fused)
    other = SimpleNamespace(layer="engine")

    def with_another(mine):
        return [mine, {**mine, "kernels.layer": other.layer}]

    monkeypatch.setattr(same_choices, "all_ranks", with_another)
    config = load_config("gpt_tiny_cpu", ("batch.micro_batch_size_samples=4",))
    with pytest.raises(MachineError, match=r"rank 1 kernels\.layer=engine"):
        require_same_choices(config)
    other.layer = "fused"
    require_same_choices(config)
