"""Reading Megatron's own checkpoint files, whole, damaged and foreign."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from checkpoints_tools import megatron_checkpoint as reader
from megatron_recipe.errors import CheckpointError


def test_weights_come_with_layer_numbers_and_without_optimizer(runs):
    checkpoint = reader.find_checkpoint(runs / "untied_qk_norm")
    weights = reader.read_model_weights(checkpoint)
    assert weights["embedding.word_embeddings.weight"].shape == (576, 64)
    assert weights["output_layer.weight"].shape == (576, 64)
    for layer in range(3):
        assert weights[f"decoder.layers.{layer}.self_attention.linear_qkv.weight"].shape == ((3 + 2) * 32, 64)
        assert weights[f"decoder.layers.{layer}.self_attention.k_layernorm.weight"].shape == (32,)
    assert len(weights) == 3 + 3 * 8
    assert all(weight.isfinite().all() and weight.abs().max() > 0 for weight in weights.values())
    assert any(name.startswith("optimizer.") for name in reader.read_index(checkpoint))


def test_reading_imports_no_megatron(runs):
    """Conversions must run where Megatron does not, and not wait 5 s for its import."""
    code = (
        "import sys; from pathlib import Path; from checkpoints_tools.megatron_checkpoint import *\n"
        f"read_model_weights(find_checkpoint(Path({str(runs / 'tied')!r})))\n"
        "sys.exit(any(name.startswith('megatron.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code]).returncode == 0


def test_layers_stored_one_by_one_are_read_like_stacked_ones():
    gate, up, norm = torch.randn(2, 5, 4), torch.randn(2, 5, 4), torch.randn(2, 4)
    stacked = {"decoder.layers.mlp.linear_fc1.weight": torch.cat([gate, up], 1), "decoder.layers.x.weight": norm}
    single = {}
    for layer in range(2):
        single[f"decoder.layers.{layer}.mlp.linear_fc1.weight_w"] = gate[layer]
        single[f"decoder.layers.{layer}.mlp.linear_fc1.weight_v"] = up[layer]
        single[f"decoder.layers.{layer}.x.weight"] = norm[layer]
    ours, theirs = reader.with_layer_numbers(single), reader.with_layer_numbers(stacked)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_newest_complete_checkpoint_of_a_run_is_found(run_copy):
    newest = run_copy / "checkpoints/step_00000004"
    for path in (run_copy, run_copy / "checkpoints", newest):
        assert reader.find_checkpoint(path) == newest
    (newest / "checkpoint.json").unlink()
    assert reader.find_checkpoint(run_copy).name == "step_00000002"
    with pytest.raises(CheckpointError, match="not written to the end"):
        reader.find_checkpoint(newest)


@pytest.mark.parametrize("content", ["nothing there", "empty folder", "other files"])
def test_a_folder_without_checkpoints_is_refused(tmp_path, content):
    folder = tmp_path / "run"
    if content != "nothing there":
        folder.mkdir()
    if content == "other files":
        (folder / "model.safetensors").touch()
        (folder / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        reader.find_checkpoint(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not readable"), ("[]", "lacks step"), ("3", "not readable"), ('{"step": 4}', "lacks vocab_size, model")],
)
def test_a_damaged_marker_is_refused(run_copy, text, words):
    marker = run_copy / "checkpoints/step_00000004/checkpoint.json"
    marker.write_text(text)
    with pytest.raises(CheckpointError, match=words):
        reader.checkpoint_facts(marker.parent)


def test_a_model_section_of_another_project_is_refused():
    with pytest.raises(CheckpointError, match="another architecture"):
        reader.model_config({"model": {"d_model": 64}})


def test_a_flipped_byte_is_noticed(run_copy):
    checkpoint = reader.find_checkpoint(run_copy)
    reader.verify_integrity(checkpoint)
    data = next(checkpoint.glob("*.distcp"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(CheckpointError, match="changed since it was written"):
        reader.verify_integrity(checkpoint)


def test_a_checkpoint_that_lost_its_data_is_refused(run_copy):
    checkpoint = reader.find_checkpoint(run_copy)
    data = next(checkpoint.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        reader.read_model_weights(checkpoint)
    data.unlink()
    with pytest.raises(CheckpointError, match="missing or changed"):
        reader.verify_integrity(checkpoint)
    with pytest.raises(CheckpointError, match="damaged"):
        reader.read_model_weights(checkpoint)


def test_a_damaged_index_is_refused(run_copy):
    checkpoint = reader.find_checkpoint(run_copy)
    (checkpoint / ".metadata").write_bytes(b"not a pickle")
    with pytest.raises(CheckpointError, match="not a Megatron torch_dist checkpoint"):
        reader.read_index(checkpoint)


def test_a_distributed_checkpoint_without_a_gpt_is_refused(tmp_path):
    import torch.distributed.checkpoint as dcp

    dcp.save({"conv.weight": torch.zeros(3)}, checkpoint_id=tmp_path / "other", no_dist=True)
    with pytest.raises(CheckpointError, match="no weights of a Megatron GPT"):
        reader.read_model_weights(tmp_path / "other")


def test_newest_goes_by_step_and_not_by_name(run_copy):
    checkpoints = run_copy / "checkpoints"
    old = shutil.copytree(checkpoints / "step_00000002", checkpoints / "zz_copy")
    facts = json.loads((old / "checkpoint.json").read_text())
    assert facts["step"] == 2
    assert reader.find_checkpoint(run_copy).name == "step_00000004"
