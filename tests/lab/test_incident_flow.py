"""A whole incident as a user runs it: killed in the middle, continued, and asked again."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from commands import ENVIRONMENT, recipe_command, run_warm, sets
from small_runs import MODEL, records

from megatron_recipe.lab.run_states import outcome_of

SECONDS = 120
STEPS, BATCH, LENGTH = 30, 4, 64
OVERRIDES = (
    *MODEL,
    "model.init_std=0.02",
    f"batch.global_batch_size_samples={BATCH}",
    f"batch.micro_batch_size_samples={BATCH}",
    "train.validation_samples=16",
)


def command(folder: Path, dataset: Path) -> list[str]:
    tokens = STEPS * BATCH * LENGTH
    options = ["--data", dataset, "--out", folder / "out", "--tokens", tokens, "--jobs", 2, "--gpus", 0]
    return recipe_command(["lab", "incident", "lr-x10", *options, *sets(*OVERRIDES)])


def kill_when_the_control_is_done(arguments: list[str], folder: Path) -> None:
    """Start, and kill the program without a warning when the incident's run has begun its steps."""
    process = subprocess.Popen(arguments, cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS
    while not records(folder / "out/incident", "train"):
        assert process.poll() is None and time.monotonic() < deadline, "the incident's run did not begin"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def flow(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("incident")
    arguments = command(folder, dataset)
    kill_when_the_control_is_done(arguments, folder)
    control = folder / "out/control"
    before = (outcome_of(control).state, (control / "events.jsonl").read_bytes())
    done = run_warm(arguments, folder)
    result = json.loads((folder / "out/incident.json").read_text())
    again = run_warm(arguments, folder)
    return {"folder": folder / "out", "before": before, "done": done, "again": again, "result": result}


def test_a_kill_costs_the_runs_that_went_on_alone(flow: dict[str, Any]) -> None:
    state, events = flow["before"]
    assert state == "finished"
    assert (flow["folder"] / "control/events.jsonl").read_bytes() == events
    assert flow["done"].returncode == 0, flow["done"].stderr
    assert "lr-x10 control" not in flow["done"].stderr
    assert "lr-x10 remedy: held-out loss" in flow["done"].stderr


def test_finished_runs_are_not_repeated(flow: dict[str, Any]) -> None:
    assert flow["again"].returncode == 0
    assert "held-out loss" not in flow["again"].stderr
    assert "page: " in flow["again"].stderr


def test_equal_seeds_and_text(flow: dict[str, Any]) -> None:
    """The first loss is computed before the runs can differ."""
    first = {role: records(flow["folder"] / role, "train")[0] for role in ("control", "incident", "remedy")}
    assert len({record["initial_loss"] for record in first.values()}) == 1
    lasts = {role: records(flow["folder"] / role, "train")[-1]["tokens"] for role in first}
    assert set(lasts.values()) == {STEPS * BATCH * LENGTH}


def test_the_result_holds_what_the_runs_measured(flow: dict[str, Any]) -> None:
    result = flow["result"]
    assert {run["state"] for run in result["runs"].values()} == {"finished"}
    for role, run in result["runs"].items():
        measured = records(flow["folder"] / role, "train")
        highest = max(record["update_ratio"] for record in measured)
        assert run["numbers"]["update_ratio.highest"] == highest
        assert run["numbers"]["held_out_loss"] == records(flow["folder"] / role, "validation")[-1]["loss"]
    ratios = [result["runs"][role]["numbers"]["update_ratio.highest"] for role in ("control", "incident")]
    assert ratios[1] > 3 * ratios[0]
    assert result["runs"]["control"]["seen"] is False
    assert (flow["folder"] / "page.html").is_file() and (flow["folder"] / "record.zh.md").is_file()
