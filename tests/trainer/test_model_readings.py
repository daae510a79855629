"""Readings of the model in the records: right numbers, the same in every layout, nothing left behind."""

import math
from pathlib import Path

import pytest
import torch
from small_runs import records

from megatron_recipe.model_readings import ModelReadings, highest_attention_logit, kind_of
from megatron_recipe.model_summary import model_summary
from megatron_recipe.step_statistics import StepStatistics

KINDS = ("attention", "feed_forward", "norms", "embedding")


class Weights(torch.nn.Module):
    """One weight that an optimizer of one part updates."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 1, bias=False)
        torch.nn.init.ones_(self.linear.weight)
        self.chained_optimizers = [self]  # it stands for its own optimizer
        self.optimizer = self


def read(model: Weights, clip: float, grad_norm: float, *, is_wanted: bool = True) -> dict:
    readings = ModelReadings(is_on=True, clip_grad_norm=clip)
    with readings.of_step([model], model, is_wanted):
        model.linear.weight.grad = torch.tensor([[0.0, 0.3, 0.4]])
        with torch.no_grad():
            model.linear.weight += torch.tensor([[0.0, 0.03, 0.04]])
    return {"model": readings.take(grad_norm)}


def test_gradient_weight_and_update_are_measured(megatron_groups):
    fields = model_summary([read(Weights(), clip=1.0, grad_norm=0.5)])
    assert fields["grad_norm_output"] == pytest.approx(0.5)
    assert fields["update_ratio_output"] == pytest.approx(0.05 / math.sqrt(3))
    assert fields["weight_rms_output"] == pytest.approx(math.sqrt((1 + 1.03**2 + 1.04**2) / 3))


def test_gradients_are_given_as_they_were_before_clipping(megatron_groups):
    assert model_summary([read(Weights(), 0.5, grad_norm=20.0)])["grad_norm_output"] == pytest.approx(20.0)
    assert model_summary([read(Weights(), 0.0, grad_norm=20.0)])["grad_norm_output"] == pytest.approx(0.5)


def test_a_step_that_is_not_wanted_is_not_read(megatron_groups):
    assert model_summary([read(Weights(), 1.0, 0.5, is_wanted=False)]) == {}


def test_a_step_that_was_rolled_back_is_not_in_the_next_record(megatron_groups):
    readings, model = ModelReadings(is_on=True, clip_grad_norm=0.0), Weights()
    for gradient in (math.nan, 0.5):
        with readings.of_step([model], model, is_wanted=True):
            model.linear.weight.grad = torch.tensor([[0.0, 0.0, gradient]])
    assert model_summary([{"model": readings.take(0.5)}])["grad_norm_output"] == pytest.approx(0.5)


def test_ranks_are_added_up():
    one = {"weights": {"1/attention": [9.0, 4.0, 1.0, 100.0, 0.0, 4.0, 4.0]}, "layers": {}, "logit": 3.0}
    two = {"weights": {"2/attention": [16.0, 4.0, 3.0, 300.0, 2.0, 4.0, 4.0]}, "layers": {}, "logit": 5.0}
    two["layers"] = {1: {"mean_square": 4.0, "attention_logit": 7.0}}
    fields = model_summary([{"model": one}, {"model": two}])
    assert fields["grad_norm_attention"] == 5.0
    assert fields["update_ratio"] == fields["update_ratio_attention"] == pytest.approx(0.1)
    assert fields["zero_grad_share"] == 0.25
    assert fields["layer_grad_norms"] == [3.0, 4.0]
    assert (fields["layer_activation_rms"], fields["layer_attention_logits"]) == ([2.0], [7.0])
    assert (fields["attention_logit_max"], fields["logit_max"]) == (7.0, 5.0)


def test_attention_logits_are_those_of_keys_up_to_the_query():
    query, key = torch.randn(32, 2, 4, 8), torch.randn(32, 2, 2, 8)
    logits = torch.einsum("qhd,khd->hqk", query[:, 0], key[:, 0].repeat_interleave(2, 1)) / math.sqrt(8)
    assert float(highest_attention_logit(query, key)) == pytest.approx(float(logits.tril().abs().max()), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("module.decoder.layers.0.self_attention.linear_qkv.weight", "attention"),
        ("module.decoder.layers.0.self_attention.linear_qkv.layer_norm_weight", "norms"),
        ("module.decoder.layers.0.mlp.linear_fc1.weight", "feed_forward"),
        ("module.decoder.final_layernorm.weight", "norms"),
        ("module.embedding.word_embeddings.weight", "embedding"),
        ("module.output_layer.weight", "output"),
    ],
)
def test_parameters_are_of_their_kind(name, kind):
    assert kind_of(name) == kind


def test_the_steps_between_two_records():
    steps = StepStatistics()
    for step, (loss, norm) in enumerate([(5.0, 2.0), (4.0, 0.5), (math.nan, math.nan)], start=1):
        steps.add(step, loss, norm, is_updated=step < 3)
    fields = steps.take(clip_grad_norm=1.0)
    assert (fields["initial_loss"], fields["updates_left_out"]) == (5.0, 1)
    assert fields["clipped_share"] == pytest.approx(1 / 3)
    assert math.isnan(fields["loss_max"])
    steps.add(4, 3.0, 2.0, is_updated=True)
    steps.add(5, 5.0, 2.0, is_updated=True)
    fields = steps.take(clip_grad_norm=0.0)
    assert (fields["loss_mean"], fields["loss_max"], fields["clipped_share"]) == (4.0, 5.0, 0.0)
    assert "initial_loss" not in fields
    assert steps.take(1.0) == {}


def test_a_rollback_leaves_nothing_in_the_interval():
    steps = StepStatistics()
    steps.add(7, math.nan, math.nan, is_updated=False)
    steps.forget()
    steps.add(6, 3.0, 0.5, is_updated=True)
    found = steps.take(1.0)
    assert (found["loss_mean"], found["grad_norm_max"], found["updates_left_out"]) == (3.0, 0.5, 0)


@pytest.mark.slow
def test_kinds_make_up_the_gradient_whether_one_rank_updates_or_two(resumed_run: Path, two_process_run: Path):
    for run in (resumed_run, two_process_run):
        for record in records(run, "train"):
            norms = [record[f"grad_norm_{kind}"] for kind in KINDS]
            assert math.hypot(*norms) == pytest.approx(record["grad_norm"], rel=1e-4)
            assert math.hypot(*record["layer_grad_norms"]) < record["grad_norm"]
            assert 0 < record["update_ratio"] < 1
            assert len(record["layer_activation_rms"]) == len(record["layer_attention_logits"]) == 4
