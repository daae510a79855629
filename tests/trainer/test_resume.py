"""A run that was stopped and continued is the run that was not, to the last bit."""

import json
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import interrupt, recipe_command, run_warm
from small_runs import BATCH, arguments, records

NUMBERS = ("kind", "step", "samples", "tokens", "loss", "learning_rate", "grad_norm")
"""What a run repeats to the last bit; times and what is made of them it does not."""


@pytest.fixture(scope="module")
def straight_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 steps by one process, with a checkpoint at step 10."""
    folder = tmp_path_factory.mktemp("straight")
    save = "checkpoint.save_every_steps=10"
    result = run_warm(recipe_command(["train", "gpt_tiny_cpu", *arguments(dataset, folder / "run", save)]), folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


def read_everything(checkpoint: Path) -> dict[str, Any]:
    """All tensors and all other objects of a checkpoint under their names."""
    from torch.distributed.checkpoint import FileSystemReader, load
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    reader = FileSystemReader(checkpoint)
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        if isinstance(entry, TensorStorageMetadata)
        else None
        for name, entry in reader.read_metadata().state_dict_metadata.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(state, storage_reader=reader, no_dist=True)
    return state


def common_state(everything: dict[str, Any]) -> dict[str, Any]:
    """Parameter groups, schedule and counters; without the seconds, which no run repeats, and the best held-out loss:
    a run that stops also measures where it stops."""
    (common,) = everything["common_state/shard_0_1"]
    del common["run_state"]["seconds"], common["run_state"]["best_loss"]
    return common


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in NUMBERS}


def test_ten_steps_and_five_plus_five_end_bitwise_equal(straight_run, resumed_run):
    straight, resumed = (read_everything(run / "checkpoints/step_00000010") for run in (straight_run, resumed_run))
    assert straight.keys() == resumed.keys()
    tensors = {name for name, value in straight.items() if isinstance(value, torch.Tensor)}
    for kind in ("decoder.", "embedding.", "optimizer.state.exp_avg.", "optimizer.state.exp_avg_sq."):
        assert any(name.startswith(kind) for name in tensors)
    assert [name for name in tensors if not torch.equal(straight[name], resumed[name])] == []
    common = common_state(straight)
    assert common == common_state(resumed)
    state = common["run_state"]
    counters = {name: state[name] for name in ("step", "samples", "position", "tokens")}
    assert counters == {"step": 10, "samples": 10 * BATCH, "position": 10 * BATCH, "tokens": 10 * BATCH * 64}
    assert len(state["losses"]) == len(state["grad_norms"]) == 10  # what the guard judges by went on, too
    assert [group["step"] for group in common["optimizer"]["optimizer"]["param_groups"]] == [10, 10]


def test_the_records_are_equal_too(straight_run, resumed_run):
    straight, resumed = (list(map(numbers, records(run, "train"))) for run in (straight_run, resumed_run))
    assert straight[:10] == resumed


def test_a_checkpoint_differs_from_the_one_before_in_every_weight(half_run, resumed_run):
    """What the comparison above compares is not the same at all times."""
    before = read_everything(half_run / "checkpoints/step_00000005")
    after = read_everything(resumed_run / "checkpoints/step_00000010")
    tensors = [name for name, value in before.items() if isinstance(value, torch.Tensor)]
    assert [name for name in tensors if torch.equal(before[name], after[name])] == []


@pytest.mark.slow
def test_signals_stop_with_a_checkpoint_and_the_next_start_goes_on_with_the_next_sample(
    dataset, straight_run, tmp_path
):
    folder = tmp_path / "run"
    command = recipe_command(["train", "gpt_tiny_cpu", *arguments(dataset, folder)])
    seen = 0
    for number, exit_code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        result = interrupt(command, tmp_path, lambda seen=seen: len(records(folder, "train")) > seen + 1, number)
        assert result.returncode == exit_code, result.stderr
        assert number.name in result.stderr and "Traceback" not in result.stderr
        taken = [record["step"] for record in records(folder, "train")]
        assert taken == list(range(1, len(taken) + 1)) and seen < len(taken) < 20
        seen = len(taken)
        marker = json.loads((folder / f"checkpoints/step_{seen:08d}/checkpoint.json").read_text(encoding="utf-8"))
        assert (marker["step"], marker["samples"]) == (seen, seen * BATCH)
    result = run_warm(command, tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"continuing {folder} after step {seen}" in result.stderr
    # each loss is that of the run without a stop, so each sample is
    assert list(map(numbers, records(folder, "train"))) == list(map(numbers, records(straight_run, "train")))
    events = [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event for event in events if event != "checkpoint_saved"] == [
        "start",
        "stopped",
        "resume",
        "stopped",
        "resume",
        "end",
    ]
