"""The commands of `megatron-recipe convert`."""

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from checkpoints_tools.cli import app
from checkpoints_tools.megatron_checkpoint import CheckpointReader
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


def test_compare_fails_with_1_for_the_checkpoint_of_another_step(runs, exports, tmp_path):
    older, folder = runs / "tied/checkpoints/step_00000002", exports["tied"][0]
    (tmp_path / "text.txt").write_text("any text will do " * 9)
    words = ("--text", tmp_path / "text.txt", "--tokens", 40, "--dtype", "bfloat16")
    result = invoke("compare", older, folder, *words)
    assert result.exit_code == 1, result.output
    assert "tokens: 40" in result.stdout and "arithmetic: bfloat16" in result.stdout
    assert "passed: False" in result.stdout


def test_compare_exits_with_0_where_all_is_equal(runs, exports, monkeypatch):
    monkeypatch.setattr("checkpoints_tools.compare_command.compare_logits", lambda *_, **__: {"passed": True})
    result = invoke("compare", runs / "tied", exports["tied"][0])
    assert result.exit_code == 0 and "passed: True" in result.stdout and "held-out text" in result.stdout
    assert "would compare" in invoke("compare", runs / "tied", exports["tied"][0], "--dry-run").stderr


@pytest.mark.parametrize("side", ["export", "checkpoint"])
def test_compare_refuses_a_side_that_has_changed(run_copy, exports, tmp_path, side):
    folder = shutil.copytree(exports["tied"][0], tmp_path / "copy")
    checkpoint = run_copy / "checkpoints/step_00000004"
    if side == "export":
        file, at = folder / "model.safetensors", -10
    else:
        piece = CheckpointReader(checkpoint).stored["decoder.layers.mlp.linear_fc2.weight"].pieces[0]
        file, at = piece.file, piece.start + piece.length // 2
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    result = invoke("compare", checkpoint, folder)
    assert isinstance(result.exception, CheckpointError)
    assert ("changed since it was written" if side == "export" else "its checksum differs") in str(result.exception)


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


def test_inspect_of_an_export_shows_what_transformers_gets(exports):
    folder, export = exports["untied_qk_norm"]
    result = invoke("inspect", folder, "--verify")
    assert result.exit_code == 0 and "verified" in result.stdout, result.output
    assert "Qwen3ForCausalLM" in result.stdout and "model.layers.2.self_attn.k_norm.weight" in result.stdout
    assert export["files"]["model.safetensors"][:16] in result.stdout


def test_inspect_as_json_has_every_tensor_and_checksum(runs):
    report = json.loads(invoke("inspect", runs / "tied", "--json").stdout)
    assert report["facts"]["step"] == 4 and report["kind"] == "Megatron checkpoint"
    qkv = report["tensors"]["decoder.layers.self_attention.linear_qkv.weight"]
    assert qkv == {"shape": [3, 128, 64], "dtype": "float32", "bytes": 4 * 3 * 128 * 64, "part": "model"}
    assert report["tensors"]["optimizer.state.exp_avg.decoder.final_layernorm.weight"]["part"] == "optimizer"
    assert len(report["files"]["__0_0.distcp"]["sha256"]) == 64


def test_inspect_verifies_every_byte_where_it_is_asked_to(run_copy):
    data = next((run_copy / "checkpoints/step_00000004").glob("*.distcp"))
    assert invoke("inspect", run_copy, "--verify").exit_code == 0
    content = bytearray(data.read_bytes())
    content[-100] ^= 1  # the optimizer's, which an export does not read
    data.write_bytes(content)
    assert invoke("inspect", run_copy).exit_code == 0
    result = invoke("inspect", run_copy, "--verify")
    assert isinstance(result.exception, CheckpointError) and "changed since it was written" in str(result.exception)
    data.unlink()
    assert "is missing" in str(invoke("inspect", run_copy).exception)


def test_average_says_what_it_would_do_and_does_it(run_copy, tmp_path):
    result = invoke("average", run_copy, tmp_path / "mean", "--last", 2, "--dry-run")
    assert "step_00000002, step_00000004" in result.stderr and not (tmp_path / "mean").exists()
    result = invoke("average", run_copy, tmp_path / "mean", "--last", 2)
    assert result.exit_code == 0 and "the mean of steps 2, 4" in result.stderr
    assert '"averaged_steps"' in (tmp_path / "mean/checkpoint.json").read_text()


def test_help_says_why_there_is_no_reshard():
    assert "loads in any parallel layout" in " ".join(invoke("--help").stdout.split())


def test_help_imports_no_library():
    code = (
        "import sys, checkpoints_tools.cli, eval.cli\n"
        "print({'torch', 'numpy', 'pydantic', 'transformers', 'yaml'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "set()\n", found
