"""Reading Megatron's own checkpoint files, whole, damaged and foreign."""

import json
import shutil
import subprocess
import sys
import warnings

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
    assert any(name.startswith("optimizer.") for name in reader.CheckpointReader(checkpoint).stored)


def test_reading_imports_no_megatron(runs):
    """Conversions must run where Megatron does not, and not wait 5 s for its import."""
    code = (
        "import sys; from pathlib import Path; from checkpoints_tools.megatron_checkpoint import *\n"
        f"read_model_weights(find_checkpoint(Path({str(runs / 'tied')!r})))\n"
        "sys.exit(any(name.startswith('megatron.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code]).returncode == 0


def saved(tmp_path, tensors):
    import torch.distributed.checkpoint as dcp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no process group is just what is meant
        dcp.save(tensors, checkpoint_id=tmp_path, no_dist=True)
    return tmp_path


def test_layers_stored_one_by_one_are_read_like_stacked_ones(tmp_path):
    gate, up, norm = torch.randn(2, 5, 4), torch.randn(2, 5, 4), torch.randn(2, 4)
    stacked = {"decoder.layers.mlp.linear_fc1.weight": torch.cat([gate, up], 1), "decoder.layers.x.weight": norm}
    single = {}
    for layer in range(2):
        single[f"decoder.layers.{layer}.mlp.linear_fc1.weight_w"] = gate[layer].clone()
        single[f"decoder.layers.{layer}.mlp.linear_fc1.weight_v"] = up[layer].clone()
        single[f"decoder.layers.{layer}.x.weight"] = norm[layer].clone()
    ours = reader.read_model_weights(saved(tmp_path / "single", single))
    theirs = reader.read_model_weights(saved(tmp_path / "stacked", stacked))
    assert ours.keys() == theirs.keys() and len(ours) == 4
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    infos = reader.CheckpointReader(tmp_path / "single").weights
    assert all(infos[name].shape == weight.shape for name, weight in ours.items())


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


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_flipped_byte_of_a_weight_is_noticed_by_reading_it_and_one_of_the_optimizer_is_not_read(run_copy):
    checkpoint = reader.find_checkpoint(run_copy)
    reader.verify_lists(checkpoint)
    stored = reader.CheckpointReader(checkpoint).stored
    before = reader.read_model_weights(checkpoint)
    data = next(checkpoint.glob("*.distcp"))
    states = [one for name, one in stored.items() if name.startswith("optimizer.")]
    for piece in (piece for state in states for piece in state.pieces):
        flip(data, piece.start + piece.length // 2)
    after = reader.read_model_weights(checkpoint)
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    piece = stored["decoder.layers.mlp.linear_fc2.weight"].pieces[1]
    flip(data, piece.start + piece.length // 2)
    with pytest.raises(CheckpointError, match=r"linear_fc2\.weight cannot be read \(its checksum differs\)"):
        reader.read_model_weights(checkpoint)


@pytest.mark.parametrize("name", [".metadata", "metadata.json", "integrity.json", "checkpoint.json"])
def test_a_flipped_byte_of_a_list_is_noticed(run_copy, name):
    file = reader.find_checkpoint(run_copy) / name
    # a digit for a digit, so that JSON stays JSON
    at = next(i for i, byte in enumerate(file.read_bytes()) if chr(byte).isdigit())
    flip(file, at)
    with pytest.raises(CheckpointError, match="changed since it was written"):
        reader.verify_lists(file.parent)


def test_a_checkpoint_that_lost_its_data_is_refused(run_copy):
    checkpoint = reader.find_checkpoint(run_copy)
    data = next(checkpoint.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="cut off or changed"):
        reader.read_model_weights(checkpoint)
    data.unlink()
    with pytest.raises(CheckpointError, match="missing or changed"):
        reader.verify_lists(checkpoint)
    with pytest.raises(CheckpointError, match="is missing, which holds"):
        reader.read_model_weights(checkpoint)


def test_a_damaged_index_is_refused(run_copy):
    checkpoint = reader.find_checkpoint(run_copy)
    (checkpoint / ".metadata").write_bytes(b"not a pickle")
    with pytest.raises(CheckpointError, match="not a Megatron torch_dist checkpoint"):
        reader.CheckpointReader(checkpoint)


def test_a_distributed_checkpoint_without_a_gpt_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no weights of a Megatron GPT"):
        reader.read_model_weights(saved(tmp_path / "other", {"conv.weight": torch.zeros(3)}))


def test_newest_goes_by_step_and_not_by_name(run_copy):
    checkpoints = run_copy / "checkpoints"
    old = shutil.copytree(checkpoints / "step_00000002", checkpoints / "zz_copy")
    facts = json.loads((old / "checkpoint.json").read_text())
    assert facts["step"] == 2
    assert reader.find_checkpoint(run_copy).name == "step_00000004"
