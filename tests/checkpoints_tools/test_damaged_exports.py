"""Exports of damaged checkpoints, and exports that are stopped: a reason in one line, and nothing left that loads."""

import json
import signal
from pathlib import Path

import pytest
import torch
from commands import interrupt, recipe_command
from transformers import AutoModelForCausalLM

from checkpoints_tools.megatron_checkpoint import CheckpointReader, checkpoint_facts, find_checkpoint
from checkpoints_tools.to_hf import export_run, read_ahead
from checkpoints_tools.weights_checkpoint import write_weights_checkpoint
from megatron_recipe.errors import CheckpointError, MachineError


def flip_in(checkpoint: Path, name: str) -> None:
    piece = CheckpointReader(checkpoint).stored[name].pieces[0]
    content = bytearray(piece.file.read_bytes())
    content[piece.start + piece.length // 2] ^= 1
    piece.file.write_bytes(content)


def data_file(checkpoint: Path) -> Path:
    return next(checkpoint.glob("*.distcp"))


def change_marker(checkpoint: Path, **changes: object) -> None:
    marker = checkpoint / "checkpoint.json"
    facts = json.loads(marker.read_text())
    facts["model"] |= changes
    marker.write_text(json.dumps(facts))


DAMAGES = {
    "a byte of the last weight": (
        lambda checkpoint: flip_in(checkpoint, "decoder.layers.mlp.linear_fc2.weight"),
        r"linear_fc2\.weight cannot be read \(its checksum differs\)",
    ),
    "a file cut off": (
        lambda checkpoint: data_file(checkpoint).write_bytes(data_file(checkpoint).read_bytes()[:90_000]),
        "cut off or changed",
    ),
    "a missing file": (lambda checkpoint: data_file(checkpoint).unlink(), "missing or changed"),
    "a missing index": (lambda checkpoint: (checkpoint / ".metadata").unlink(), "metadata is missing, which says"),
    "another size in the marker": (
        lambda checkpoint: change_marker(checkpoint, hidden_size=128),
        r"has shape \[.*64\], but \[.*128\] was expected",
    ),
    "another number in the marker": (
        lambda checkpoint: change_marker(checkpoint, rope_theta=10_000.0),
        "changed since it was written",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_one_line_and_leaves_nothing(run_copy, tmp_path, damage):
    checkpoint = find_checkpoint(run_copy)
    change, words = DAMAGES[damage]
    change(checkpoint)
    with pytest.raises(CheckpointError, match=words) as error:
        export_run(checkpoint, tmp_path / "exports/out", compare=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "exports").exists() or list((tmp_path / "exports").iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(runs, dataset, tmp_path, value):
    source = find_checkpoint(runs / "tied")
    reader = CheckpointReader(source)
    weights = {name: reader.read(name) for name in reader.weights}
    weights["decoder.layers.2.mlp.linear_fc1.weight"][150, 3] = value
    facts = {name: one for name, one in checkpoint_facts(source).items() if "sha256" not in name}
    write_weights_checkpoint(tmp_path / "broken", weights.items(), facts)
    with pytest.raises(CheckpointError, match=r"layers\.2\.mlp\.up_proj\.weight holds NaN or infinite values"):
        export_run(tmp_path / "broken", tmp_path / "out", dataset=dataset, compare=False)
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_a_disk_without_room_is_said_before_anything_is_written(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(MachineError, match="the disk is full"):
        export_run(runs / "tied", tmp_path / "out", compare=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_export_that_is_stopped_leaves_nothing_that_loads_and_the_next_one_works(runs, tmp_path, number):
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    command = recipe_command(["convert", "to-hf", runs / "tied", out])
    # weights and tokenizer are there by then, and Megatron is being asked for its logits
    stopped = interrupt(command, tmp_path, lambda: (partial / ".compare/request.pt").is_file(), number)
    assert stopped.returncode != 0 and not out.exists()
    assert partial.exists() == (number is signal.SIGKILL), "a kill leaves what the next export deletes"
    if partial.exists():
        assert (partial / "model.safetensors").is_file()
        with pytest.raises((OSError, ValueError)):
            AutoModelForCausalLM.from_pretrained(partial, local_files_only=True)
    export_run(runs / "tied", out, compare=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert AutoModelForCausalLM.from_pretrained(out).num_parameters() > 0


def test_reading_ahead_keeps_the_order_and_passes_errors_on():
    given = {"a": torch.zeros(1), "b": torch.ones(1), "c": torch.ones(2)}
    assert [tensor.tolist() for tensor in read_ahead(given.__getitem__, given)] == [[0.0], [1.0], [1.0, 1.0]]
    with pytest.raises(KeyError):
        list(read_ahead(given.__getitem__, ["a", "missing", "c"]))
