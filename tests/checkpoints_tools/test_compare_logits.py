"""The verdict on two models' logits."""

import math

import pytest
import torch

from checkpoints_tools.compare_logits import Differences, compare_logits, held_out_tokens
from checkpoints_tools.hf_folder import load_hf_model, load_hf_tokenizer
from checkpoints_tools.megatron_checkpoint import find_checkpoint
from checkpoints_tools.megatron_logits import megatron_logits
from megatron_recipe.errors import CheckpointError, DataError


def verdict(reference: torch.Tensor, exported: torch.Tensor) -> dict[str, object]:
    differences = Differences()
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


def test_one_other_best_token_fails_however_close():
    reference, exported = torch.tensor([[1.0, 1.00001]]), torch.tensor([[1.00001, 1.0]])
    found = verdict(reference, exported)
    assert found["max_abs_difference"] < 1e-4 and found["top1_agreement"] == 0 and not found["passed"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2e-4])
def test_a_single_wrong_value_fails(value):
    logits = torch.zeros(4, 6)
    logits[:, 0] = 1
    wrong = logits.clone()
    wrong[2, 3] += value
    assert not verdict(logits, wrong)["passed"]
    assert not verdict(wrong, logits)["passed"]


def test_documents_are_cut_to_the_model_and_to_the_budget(exports, dataset):
    tokenizer = load_hf_tokenizer(exports["tied"][0])
    documents = held_out_tokens(tokenizer, dataset, max_length=16, max_tokens=100)
    assert sum(map(len, documents)) == 100 and max(map(len, documents)) == 16


def test_a_dataset_without_held_out_text_cannot_prove_anything(exports, tmp_path):
    tokenizer = load_hf_tokenizer(exports["tied"][0])
    with pytest.raises(DataError, match=r"validation\.jsonl is missing"):
        held_out_tokens(tokenizer, tmp_path, 16, 100)
    (tmp_path / "validation.jsonl").write_text("")
    with pytest.raises(DataError, match="no held-out text"):
        held_out_tokens(tokenizer, tmp_path, 16, 100)
    (tmp_path / "validation.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(DataError, match="line 1"):
        held_out_tokens(tokenizer, tmp_path, 16, 100)


def test_the_checkpoint_of_another_step_is_not_the_exports(exports, runs, dataset):
    folder, _ = exports["tied"]
    older = runs / "tied/checkpoints/step_00000002"
    found = compare_logits(older, folder, dataset, dtype=torch.float32, max_tokens=200)
    assert not found["passed"] and found["max_abs_difference"] > 1e-3


def test_what_stops_megatron_is_said(tmp_path, runs):
    broken = tmp_path / "step"
    broken.mkdir()
    with pytest.raises(CheckpointError, match=r"Megatron could not compute its logits.*checkpoint\.json"):
        megatron_logits(broken, [torch.tensor([1, 2])], torch.float32)


def test_folders_without_a_model_are_refused(tmp_path, runs):
    for folder in (tmp_path, find_checkpoint(runs / "tied")):
        with pytest.raises(CheckpointError, match="not a Hugging Face folder"):
            load_hf_model(folder)
        with pytest.raises(CheckpointError, match="not a Hugging Face folder"):
            load_hf_tokenizer(folder)
    (tmp_path / "config.json").write_text('{"model_type": "nothing_known"}')
    with pytest.raises(CheckpointError, match="transformers cannot load it"):
        load_hf_model(tmp_path)
