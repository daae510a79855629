"""The commands of `megatron-recipe convert`."""

import json
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from checkpoints_tools.cli import app
from megatron_recipe.errors import CheckpointError

runner = CliRunner()


def invoke(*arguments: object):
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_dry_run_says_what_would_be_written_and_writes_nothing(runs, tmp_path):
    result = invoke("to-hf", runs / "tied", tmp_path / "out", "--dry-run", "--dtype", "bfloat16")
    assert result.exit_code == 0, result.output
    assert "step 4" in result.stderr and "bfloat16" in result.stderr and "500 (512 with padding" in result.stderr
    assert not (tmp_path / "out").exists()


def test_to_hf_writes_an_export(runs, tmp_path):
    result = invoke("to-hf", runs / "tied", tmp_path / "out", "--no-compare", "--dtype", "bfloat16")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "bfloat16"
    assert "logits not compared" in result.stderr


def test_a_folder_that_is_no_checkpoint_is_a_checkpoint_error(tmp_path):
    for command in (("to-hf", tmp_path, tmp_path / "out"), ("inspect", tmp_path), ("compare", tmp_path, tmp_path)):
        result = invoke(*command)
        assert isinstance(result.exception, CheckpointError), result.output


def test_compare_passes_then_fails_with_1_once_a_weight_changed(runs, exports, tmp_path):
    folder, _ = exports["tied"]
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert invoke("compare", runs / "tied", copy, "--dry-run").exit_code == 0
    weights = load_file(copy / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] += 0.5
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    result = invoke("compare", runs / "tied", copy)
    assert result.exit_code == 1 and "passed: False" in result.stdout


def test_compare_refuses_a_folder_that_is_no_export(runs, tmp_path):
    result = invoke("compare", runs / "tied", tmp_path)
    assert isinstance(result.exception, CheckpointError) and "not a Hugging Face folder" in str(result.exception)


@pytest.mark.parametrize("architecture", ["tied", "untied_qk_norm"])
def test_inspect_lists_step_tokens_and_tensors(runs, architecture):
    result = invoke("inspect", runs / architecture)
    assert result.exit_code == 0
    assert "step: 4" in result.stdout and "tokens: 1024" in result.stdout
    assert "float32" in result.stdout and "3 × 192 × 64" in result.stdout
    assert ("output_layer.weight" in result.stdout) == (architecture != "tied")
    assert "optimizer.state" not in result.stdout


def test_help_imports_no_library():
    code = (
        "import sys, checkpoints_tools.cli, eval.cli\n"
        "print({'torch', 'numpy', 'pydantic', 'transformers', 'yaml'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "set()\n", found
