"""The verdict on two models' logits."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from checkpoints_tools.compare_logits import Differences, compare_with_reference
from checkpoints_tools.hf_folder import load_hf_model, load_hf_tokenizer
from checkpoints_tools.megatron_checkpoint import find_checkpoint
from checkpoints_tools.megatron_logits import megatron_reference
from checkpoints_tools.safetensors_files import write_safetensors
from megatron_recipe.errors import CheckpointError


def verdict(reference: torch.Tensor, exported: torch.Tensor, arithmetic: torch.dtype = torch.float32):
    differences = Differences(arithmetic)
    differences.add(reference, exported)
    return differences.verdict()


def test_equal_logits_pass_and_padding_does_not_count():
    logits = torch.randn(5, 7)
    padded = torch.cat([logits, torch.full((5, 3), 100.0)], dim=1)
    found = verdict(padded, logits)
    assert found["passed"] and found["max_abs_difference"] == 0 and found["kl"] == pytest.approx(0, abs=1e-12)


def test_numbers_are_those_of_a_case_done_by_hand():
    reference = torch.tensor([[math.log(3.0), 0.0], [0.0, 1.0]])
    exported = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    found = verdict(reference, exported)
    assert found["max_abs_difference"] == pytest.approx(math.log(3.0))
    assert found["mean_abs_difference"] == pytest.approx(math.log(3.0) / 4)
    # p = (3/4, 1/4), q = (1/2, 1/2) on the first of two tokens
    assert found["kl"] == pytest.approx((0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2)
    assert found["tokens"] == 2 and not found["passed"]


def test_another_best_token_fails_unless_it_is_a_tie_within_the_rounding():
    reference = torch.tensor([[1.0, 1.00001], [0.0, 5.0]])
    tie = verdict(reference, torch.tensor([[1.00001, 1.0], [0.0, 5.0]]))
    assert tie["passed"] and (tie["top1_agreement"], tie["top1_ties"]) == (0.5, 0.5)
    reference = torch.tensor([[1.0, 1.00006], [0.0, 5.0]])
    other = verdict(reference, torch.tensor([[1.00006, 1.0], [0.0, 5.0]]))
    assert other["max_abs_difference"] < 1e-4 and (other["top1_agreement"], other["top1_ties"]) == (0.5, 0)
    assert not other["passed"]


def test_the_limit_grows_with_the_logits_as_their_rounding_does():
    logits = torch.randn(5, 7)
    assert verdict(logits, logits)["allowed_difference"] == 1e-4
    logits[0, 0] = 160.0
    found = verdict(logits, logits + 5e-4)
    assert found["allowed_difference"] == pytest.approx(1e-3) and found["passed"]


def test_bf16_is_judged_by_kl_and_by_best_tokens():
    torch.manual_seed(0)
    logits = 5 * torch.randn(100, 50)
    rounded, wrong = logits.bfloat16().float(), logits.roll(1, dims=1)
    found = verdict(logits, rounded, torch.bfloat16)
    assert found["max_abs_difference"] > 1e-3 and found["passed"] and not verdict(logits, rounded)["passed"]
    assert not verdict(logits, wrong, torch.bfloat16)["passed"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2e-4])
def test_a_single_wrong_value_fails(value):
    logits = torch.zeros(4, 6)
    logits[:, 0] = 1
    wrong = logits.clone()
    wrong[2, 3] += value
    assert not verdict(logits, wrong)["passed"]
    assert not verdict(wrong, logits)["passed"]


def copied_with(folder: Path, to: Path, change, dtype=torch.float32) -> Path:
    """A copy of a Hugging Face folder after `change(weights, config)`."""
    weights, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    change(weights, config)
    to.mkdir()
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    write_safetensors(to, shapes, dtype, ((name, w.to(dtype).contiguous()) for name, w in weights.items()), 10**5)
    (to / "config.json").write_text(json.dumps(config))
    return to


@pytest.fixture(scope="module")
def reference(runs, tmp_path_factory):
    """What Megatron computes on sequences of different lengths, the longest as long as the model's."""
    rows = [torch.randint(500, (length,), generator=torch.Generator().manual_seed(length)) for length in (64, 3, 40)]
    work = tmp_path_factory.mktemp("reference")
    return megatron_reference(find_checkpoint(runs / "tied"), rows, work, rounded_to=torch.float32)


def swap_gate_and_up(weights, config):
    gate, up = (f"model.layers.1.mlp.{name}_proj.weight" for name in ("gate", "up"))
    weights[gate], weights[up] = weights[up], weights[gate]


def change_last_norm(weights, config):
    weights["model.norm.weight"] *= 1.001


MISTAKES = {
    "layer 1": swap_gate_and_up,
    "final norm": change_last_norm,
    "embedding": lambda weights, config: weights["model.embed_tokens.weight"][7:9].mul_(1.5),
    "layer 0": lambda weights, config: weights["model.layers.0.self_attn.q_proj.weight"][:8].mul_(-1),
}


def test_the_same_model_passes_in_several_files(reference, exports, tmp_path):
    folder = copied_with(exports["tied"][0], tmp_path / "copy", lambda weights, config: None)
    assert len(list(folder.glob("*.safetensors"))) > 3
    found = compare_with_reference(reference, folder)
    assert found["passed"] and found["max_abs_difference"] < 1e-5 and found["first_differing_layer"] is None
    assert (found["documents"], found["tokens"]) == (3, 107)


@pytest.mark.parametrize("stage", MISTAKES)
def test_a_mistake_is_found_at_its_layer(reference, exports, tmp_path, stage):
    folder = copied_with(exports["tied"][0], tmp_path / "copy", MISTAKES[stage])
    found = compare_with_reference(reference, folder)
    assert not found["passed"] and found["first_differing_layer"] == stage


def test_a_config_that_differs_fails_by_name_even_where_no_logit_shows_it(reference, exports, tmp_path):
    def change(weights, config):
        config["rms_norm_eps"] = 1.00001e-6

    found = compare_with_reference(reference, copied_with(exports["tied"][0], tmp_path / "copy", change))
    assert found["max_abs_difference"] < 1e-4 and not found["passed"]
    assert found["config_differences"] == ["norm_epsilon=1.00001e-06 in config.json, 1e-06 in the checkpoint"]


def test_padding_of_a_sequence_changes_nothing(reference, exports):
    """Logits of a short sequence are those that it has alone."""
    model = load_hf_model(exports["tied"][0])
    with torch.inference_mode():
        alone = model(reference.tokens[1:2, :3]).logits[0]
    assert torch.allclose(reference.logits(1, 0, 3)[:, :500], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights, config: weights.pop("model.norm.weight"), r"lacks model\.norm\.weight"),
        (
            lambda weights, config: weights.update({"model.extra": torch.zeros(2)}),
            r"has model\.extra, which its config",
        ),
        (
            lambda weights, config: config.update(vocab_size=512),
            r"shape \[500, 64\] where its config.json says \[512, 64\]",
        ),
        (lambda weights, config: config.update(model_type="unknown"), "transformers cannot build"),
        (lambda weights, config: config.update(num_attention_heads="four"), "transformers cannot build"),
        (lambda weights, config: config.pop("model_type"), "names no model_type"),
    ],
)
def test_weights_and_config_that_make_no_model_are_refused(reference, exports, tmp_path, change, words):
    folder = copied_with(exports["tied"][0], tmp_path / "copy", change)
    with pytest.raises(CheckpointError, match=words):
        compare_with_reference(reference, folder)


def test_what_stops_megatron_is_said(tmp_path, runs):
    broken = tmp_path / "step"
    broken.mkdir()
    with pytest.raises(CheckpointError, match=r"Megatron could not compute its logits.*checkpoint\.json"):
        megatron_reference(broken, [torch.tensor([1, 2])], tmp_path, rounded_to=torch.float32)


def test_folders_without_a_model_are_refused(tmp_path, runs):
    for folder in (tmp_path, find_checkpoint(runs / "tied")):
        with pytest.raises(CheckpointError, match="not a Hugging Face folder"):
            load_hf_model(folder)
        with pytest.raises(CheckpointError, match="not a Hugging Face folder"):
            load_hf_tokenizer(folder)
    (tmp_path / "config.json").write_text('{"model_type": "nothing_known"}')
    with pytest.raises(CheckpointError, match="transformers cannot load it"):
        load_hf_model(tmp_path)
