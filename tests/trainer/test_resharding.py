"""A run that two data-parallel processes began goes on in any other layout, and comes back, with the same losses."""

import itertools
from pathlib import Path

import pytest
import torch
from commands import run_warm, torchrun_command
from flows import copy_at
from small_runs import arguments, records

from benchmarks.faults import final_state

SAVED, TURNED, END = 4, 6, 8
OPTIMIZERS = {"distributed optimizer": "true", "plain optimizer": "false"}
LAYOUTS = {
    "tensor parallel": (2, "parallel.tensor=2"),
    "pipeline parallel": (2, "parallel.pipeline=2"),
    "one process": (1,),
}
TOLERANCE = 1e-4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=OPTIMIZERS)
def optimizer(request: pytest.FixtureRequest) -> str:
    """The override that chooses the optimizer."""
    return f"parallel.distributed_optimizer={OPTIMIZERS[request.param]}"


@pytest.fixture(scope="module")
def spread_run(optimizer: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`two_process_run`, or the same with the plain optimizer."""
    if optimizer.endswith("true"):
        return request.getfixturevalue("two_process_run")
    folder = tmp_path_factory.mktemp("spread") / "run"
    train(request.getfixturevalue("dataset"), folder, 2, END, f"checkpoint.save_every_steps={SAVED}", optimizer)
    return folder


def train(dataset: Path, folder: Path, processes: int, stop: int, *overrides: str) -> None:
    """Begin or continue a run with torchrun."""
    command = torchrun_command(processes, arguments(dataset, folder, f"train.stop_at_step={stop}", *overrides))
    result = run_warm(command, folder.parent)
    assert result.returncode == 0, result.stderr


def assert_same_numbers(continued: Path, expected: Path, end: int) -> None:
    """Losses and norms of all steps after the checkpoint are those of the run in its own layout."""
    found, wanted = (
        [entry for entry in records(path, "train") if entry["step"] <= end] for path in (continued, expected)
    )
    assert [record["step"] for record in found] == [record["step"] for record in wanted] == list(range(1, end + 1))
    for field, tolerance in (("loss", TOLERANCE), ("grad_norm", 1e-3), ("learning_rate", 0), ("position", 0)):
        assert [record[field] for record in found] == pytest.approx([record[field] for record in wanted], rel=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_parallel_goes_on_in_another_layout(dataset, spread_run, optimizer, layout, tmp_path):
    folder = copy_at(spread_run, SAVED, tmp_path / "run")
    processes, *overrides = LAYOUTS[layout]
    train(dataset, folder, processes, END, optimizer, *overrides)
    assert_same_numbers(folder, spread_run, END)
    held_out = [records(path, "validation")[-1]["loss"] for path in (folder, spread_run)]
    assert held_out[0] == pytest.approx(held_out[1], rel=TOLERANCE)


def test_there_and_back_over_tensor_times_pipeline_parallel(dataset, spread_run, optimizer, tmp_path):
    folder = copy_at(spread_run, SAVED, tmp_path / "run")
    train(dataset, folder, 4, TURNED, optimizer, "parallel.tensor=2", "parallel.pipeline=2")
    assert_same_numbers(folder, spread_run, TURNED)
    train(dataset, folder, 1, END, optimizer)
    assert_same_numbers(folder, spread_run, END)


def test_weights_are_gathered_before_they_are_saved(spread_run, optimizer):
    """The optimizer's own copy of each weight is what the model was saved with."""
    if optimizer.endswith("false"):
        pytest.skip("the plain optimizer has no copies of FP32 weights")
    assert [record["step"] for record in records(spread_run, "validation")] == [END]
    state = final_state(copy_at(spread_run, SAVED, spread_run.with_name("saved")))
    own = {name.removeprefix("optimizer.state.param."): name for name in state if ".state.param." in name}
    weights = {name for name, value in state.items() if isinstance(value, torch.Tensor) and "optimizer." not in name}
    assert own.keys() == weights
    assert [name for name in weights if not torch.equal(state[name], state[own[name]])] == []


def test_the_losses_compared_differ_from_step_to_step_by_more_than_is_allowed(spread_run):
    losses = [record["loss"] for record in records(spread_run, "train")]
    assert all(abs(later / earlier - 1) > TOLERANCE for earlier, later in itertools.pairwise(losses))
