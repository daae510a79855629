"""The mean of a run's last checkpoints: exact, a checkpoint like any other, and refused where there is none."""

import json
import shutil

import pytest
import torch

from checkpoints_tools.average import average_run
from checkpoints_tools.megatron_checkpoint import find_checkpoint, read_model_weights
from checkpoints_tools.to_hf import export_run
from megatron_recipe.checkpoint_integrity import damage
from megatron_recipe.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def mean(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("average") / "mean"
    return out, average_run(runs / "untied_qk_norm", out, 2)


def test_the_mean_is_the_mean_and_a_complete_checkpoint(mean, runs):
    out, facts = mean
    assert (facts["averaged_steps"], facts["step"], facts["weights_only"]) == ([2, 4], 4, True)
    assert damage(out) is None and "validation_loss" not in facts and facts["tokens"] == 1024
    first, last = (
        read_model_weights(runs / "untied_qk_norm/checkpoints" / name) for name in ("step_00000002", "step_00000004")
    )
    found = read_model_weights(out)
    assert found.keys() == first.keys()
    for name, weight in found.items():
        assert torch.equal(weight, (first[name] + last[name]) / 2), name
        assert "norm" in name or not torch.equal(weight, last[name])


def test_megatron_loads_the_mean_and_it_exports(mean, dataset, tmp_path):
    """The proof of an export has Megatron load the checkpoint by itself."""
    export = export_run(mean[0], tmp_path / "out", dataset=dataset, dtype="bfloat16", max_tokens=64)
    assert export["comparison"]["passed"]


def test_the_mean_is_rounded_once(run_copy, tmp_path):
    facts = average_run(run_copy, tmp_path / "mean", 2, "bfloat16")
    exact = average_run(run_copy, tmp_path / "exact", 2)
    assert facts["averaged_steps"] == exact["averaged_steps"]
    rounded, whole = read_model_weights(tmp_path / "mean"), read_model_weights(tmp_path / "exact")
    assert all(torch.equal(rounded[name], weight.bfloat16()) for name, weight in whole.items())


def test_a_mean_is_not_averaged_again_nor_taken_for_the_runs_newest(run_copy):
    average_run(run_copy, run_copy / "checkpoints/mean", 2)
    assert find_checkpoint(run_copy).name == "step_00000004"
    assert average_run(run_copy, run_copy / "checkpoints/mean", 2)["averaged_steps"] == [2, 4]


@pytest.mark.parametrize(
    ("last", "dtype", "error", "words"),
    [
        (1, None, ConfigError, "--last=1 must be 2 or more"),
        (3, None, CheckpointError, "checkpoints of 2 steps"),
        (2, "int8", ConfigError, "float32, bfloat16"),
    ],
)
def test_what_has_no_mean_is_refused(runs, tmp_path, last, dtype, error, words):
    with pytest.raises(error, match=words):
        average_run(runs / "tied", tmp_path / "mean", last, dtype)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_of_two_models_have_no_mean(run_copy, runs, tmp_path):
    other = runs / "untied_qk_norm/checkpoints/step_00000004"
    shutil.rmtree(run_copy / "checkpoints/step_00000004")
    shutil.copytree(other, run_copy / "checkpoints/step_00000004")
    with pytest.raises(CheckpointError, match="of different models \\(model\\)"):
        average_run(run_copy, tmp_path / "mean", 2)


def test_nan_and_folders_of_something_else_are_refused(run_copy, tmp_path):
    (tmp_path / "mean").mkdir()
    (tmp_path / "mean/thesis.tex").touch()
    with pytest.raises(ConfigError, match="no mean of checkpoints"):
        average_run(run_copy, tmp_path / "mean", 2)
    marker = run_copy / "checkpoints/step_00000002/checkpoint.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "step": 3}))
    with pytest.raises(CheckpointError, match="changed since it was written"):
        average_run(run_copy, tmp_path / "other", 2)
