"""Histograms count every weight and gradient once, in buckets that hold them."""

import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from megatron_recipe import histograms
from megatron_recipe.histograms import Histogram, layer_kind, write_histograms


class Piece(torch.nn.Module):
    """Two layers with Megatron's names, and its `main_grad`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = torch.nn.ModuleList(
            torch.nn.ModuleDict(
                {"linear_qkv": torch.nn.Linear(7, 5, bias=False), "input_layernorm": torch.nn.LayerNorm(7)}
            )
            for _ in range(2)
        )
        for parameter in self.parameters():
            parameter.main_grad = torch.randn_like(parameter) * 1e-5


def in_buckets(values: torch.Tensor, limits: list[float]) -> list[int]:
    """Counts up to each limit, computed the plain way."""
    counts = [0] * len(limits)
    for value in values.flatten().tolist():
        counts[next(index for index, limit in enumerate(limits) if value <= limit)] += 1
    return counts


def test_tensorboard_holds_one_histogram_for_each_kind_of_layer(tmp_path, monkeypatch):
    monkeypatch.setattr(histograms, "CHUNK", 10)  # several pieces of each weight
    piece = Piece()
    writer = SummaryWriter(str(tmp_path))
    write_histograms(writer, [piece], step=7)
    writer.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["histograms"]) == {
        "weights/linear_qkv",
        "weights/norms",
        "gradients/linear_qkv",
        "gradients/norms",
    }
    weights = torch.cat([layer["linear_qkv"].weight.flatten() for layer in piece.layers]).detach()
    gradients = torch.cat([layer["linear_qkv"].weight.main_grad.flatten() for layer in piece.layers])
    for tag, values in (("weights/linear_qkv", weights), ("gradients/linear_qkv", gradients)):
        (event,) = events.Histograms(tag)
        value = event.histogram_value
        assert event.step == 7
        assert value.num == 70
        assert value.sum == pytest.approx(values.double().sum().item(), rel=1e-5)
        assert value.sum_squares == pytest.approx(values.double().square().sum().item(), rel=1e-5)
        assert (value.min, value.max) == pytest.approx((values.min().item(), values.max().item()))
        assert list(value.bucket) == in_buckets(values, list(value.bucket_limit))


def test_infinite_numbers_are_left_out():
    histogram = Histogram()
    histogram.add(torch.tensor([1.0, math.nan, math.inf, -2.0, -math.inf, 0.0]))
    facts = histogram.facts()
    assert facts is not None
    assert (facts["num"], facts["sum"], facts["min"], facts["max"]) == (3, -1.0, -2.0, 1.0)
    assert sum(facts["bucket_counts"]) == 3
    high = Histogram()
    high.add(torch.tensor([math.nan, 3.0, 1e9]))
    facts = high.facts()
    assert facts is not None
    assert (facts["min"], facts["max"], facts["bucket_limits"][-1]) == (3.0, 1e9, 1e9)
    empty = Histogram()
    empty.add(torch.tensor([math.nan]))
    assert empty.facts() is None
    assert Histogram().facts() is None


def test_half_precision_is_counted_as_it_is():
    histogram = Histogram()
    histogram.add(torch.full((2, 3), 0.125, dtype=torch.bfloat16))
    facts = histogram.facts()
    assert facts is not None
    assert (facts["num"], facts["sum"], facts["sum_squares"]) == (6, 0.75, 6 / 64)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("module.embedding.word_embeddings.weight", "embedding"),
        ("module.decoder.layers.3.self_attention.linear_qkv.weight", "linear_qkv"),
        ("module.decoder.layers.3.self_attention.linear_qkv.layer_norm_weight", "norms"),
        ("module.decoder.layers.3.self_attention.q_layernorm.weight", "norms"),
        ("module.decoder.layers.3.mlp.linear_fc2.weight", "linear_fc2"),
        ("module.decoder.final_layernorm.weight", "norms"),
        ("module.output_layer.weight", "output_layer"),
    ],
)
def test_megatron_names_have_a_kind(name, kind):
    assert layer_kind(name) == kind
