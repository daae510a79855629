"""A whole comparison as a user runs it: killed in the middle, continued, with a run that fails."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import ENVIRONMENT, megatron_recipe, recipe_command
from small_runs import MODEL, records

from megatron_recipe.lab.run_states import KILLED, outcome_of

SECONDS = 120
STEPS, BATCH, LENGTH = 30, 4, 64
COMPARISON = {
    "title": {"en": "Rates", "zh": "学习率"},
    "overrides": {
        **dict(override.split("=") for override in MODEL),
        "batch.global_batch_size_samples": BATCH,
        "batch.micro_batch_size_samples": BATCH,
        "train.validation_samples": 16,
    },
    "settings": [
        {"label": "low", "overrides": {"schedule.peak_learning_rate": 1e-5, "schedule.min_learning_rate": 0}},
        {"label": "high", "overrides": {"schedule.peak_learning_rate": 4e-3, "schedule.min_learning_rate": 0}},
    ],
    "tokens_per_run": STEPS * BATCH * LENGTH,
    "seeds": [1, 2, 3],
}
DAMAGED = "high-seed3"


def arguments(folder: Path, dataset: Path) -> list[object]:
    return ["lab", "compare", folder / "rates.yaml", "--dataset", dataset, "--out", folder / "out", "--jobs", 2]


def states(folder: Path) -> dict[str, str]:
    return {run.name: outcome_of(run).state for run in sorted((folder / "out/runs").iterdir())}


def processes_of(folder: Path) -> Iterator[int]:
    """Processes that have the folder among their arguments."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (entry / "cmdline").read_bytes():
                yield int(entry.name)
        except OSError:
            continue


def is_in_the_middle(folder: Path) -> bool:
    """Whether the results have a finished run and another one is at its steps."""
    result = folder / "out/comparison.json"
    begun = [run for run in (folder / "out/runs").glob("*") if records(run, "train")]
    at_work = [run for run in begun if outcome_of(run).state != "finished"]
    return bool(at_work) and result.is_file() and '"finished"' in result.read_text(encoding="utf-8")


def kill_after_the_first_run(command: list[str], folder: Path) -> None:
    """Start, and kill the program without a warning when a run is finished and another one has begun its steps."""
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS
    try:
        while True:
            if is_in_the_middle(folder):
                frozen = list(processes_of(folder))  # a run of half a second would be over before the kill
                for one in frozen:
                    os.kill(one, signal.SIGSTOP)
                if is_in_the_middle(folder):
                    break
                for one in frozen:
                    os.kill(one, signal.SIGCONT)
            assert process.poll() is None and time.monotonic() < deadline, "no run finished"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while list(processes_of(folder)):
        assert time.monotonic() < deadline, "a run outlived the program that started it"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def compared(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was there after the kill, and the comparison as the second start left it."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "rates.yaml").write_text(yaml.safe_dump(COMPARISON), encoding="utf-8")
    damaged = folder / "out/runs" / DAMAGED / "spending.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("no JSON", encoding="utf-8")
    kill_after_the_first_run(recipe_command(arguments(folder, dataset)), folder)
    before = states(folder)
    finished = [name for name, state in before.items() if state == "finished"]
    kept = {name: (folder / "out/runs" / name / "events.jsonl").read_bytes() for name in finished}
    at_kill = json.loads((folder / "out/comparison.json").read_text(encoding="utf-8"))
    reasons = {outcome_of(folder / "out/runs" / name).reason for name in before if before[name] == "stopped"}
    done = megatron_recipe(*arguments(folder, dataset), cwd=folder)
    result = json.loads((folder / "out/comparison.json").read_text(encoding="utf-8"))
    return {
        "folder": folder / "out",
        "before": before,
        "kept": kept,
        "at_kill": at_kill,
        "reasons": reasons,
        "done": done,
        "result": result,
    }


def runs_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {Path(run["folder"]).name: run for setting in result["settings"] for run in setting["runs"]}


def test_a_kill_loses_no_finished_run(compared: dict[str, Any]) -> None:
    assert compared["kept"]
    assert compared["reasons"] == {KILLED}
    for name, events in compared["kept"].items():
        assert (compared["folder"] / "runs" / name / "events.jsonl").read_bytes() == events
    noted = [name for name, run in runs_of(compared["at_kill"]).items() if run["state"] == "finished"]
    assert noted and set(noted) <= set(compared["kept"])


def test_the_same_command_does_what_is_left(compared: dict[str, Any]) -> None:
    runs = runs_of(compared["result"])
    assert {name for name, run in runs.items() if run["state"] == "finished"} == set(runs) - {DAMAGED}
    assert len(runs) == 6
    for name in runs.keys() - {DAMAGED}:
        assert records(compared["folder"] / "runs" / name, "train")[-1]["tokens"] == STEPS * BATCH * LENGTH


def test_a_failed_run_has_its_reason_and_the_others_went_on(compared: dict[str, Any]) -> None:
    done, failed = compared["done"], runs_of(compared["result"])[DAMAGED]
    assert done.returncode == 1
    assert failed["state"] == "failed" and "spending.json: damaged" in failed["reason"]
    assert f"high, seed 3: failed: {failed['reason']}" in done.stderr
    assert set(failed["values"].values()) == {None}


def test_the_numbers_are_those_of_the_runs(compared: dict[str, Any]) -> None:
    for name, run in runs_of(compared["result"]).items():
        if name == DAMAGED:
            continue
        last = records(compared["folder"] / "runs" / name, "validation")[-1]
        assert last["step"] == STEPS
        assert run["values"]["validation_loss"] == last["loss"]
        assert run["values"]["bits_per_byte"] == last["bits_per_byte"]
        assert run["values"]["mfu_full"] is None and run["values"]["cost"] is None  # a CPU, without a price


def test_equal_seeds_begin_with_equal_weights_and_samples(compared: dict[str, Any]) -> None:
    """What makes runs of one seed a pair: the first loss is computed before the settings can differ."""
    folders = [folder for folder in (compared["folder"] / "runs").iterdir() if folder.name != DAMAGED]
    first = {folder.name: records(folder, "train")[0]["loss"] for folder in folders}
    assert first["low-seed1"] == first["high-seed1"]
    assert first["low-seed2"] == first["high-seed2"]
    assert len(set(first.values())) == 3


def test_what_the_seeds_show_is_said(compared: dict[str, Any]) -> None:
    result, done = compared["result"], compared["done"]
    assert result["changed"] == ["schedule.peak_learning_rate"]
    (pair,) = (one for one in result["pairs"] if one["measure"] == "validation_loss")
    assert (pair["a"], pair["b"], pair["seeds"], pair["paired"]) == ("low", "high", 2, True)
    assert pair["shown"] == (pair["low"] > 0)
    assert "better than" in done.stdout or "No difference shown between low and high" in done.stdout
    assert "Rates" in done.stdout
