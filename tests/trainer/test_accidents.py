"""A stretch of bad text and a NaN: rolled back once, left out for good, and the model ends as without them."""

import json
import math
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from commands import run_warm
from flows import copy_at, events, trained, training_is_refused
from small_runs import records
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from benchmarks.accidents import BATCH, SETTINGS, TOLERANCE, plant
from data_prep.cli import app

STEPS = 90
SAVED, ACCIDENT = 60, 66
"""Step of the newest checkpoint before the accident, and the steps before it."""
SKIP_PAST = 4
LEFT_OUT = (SAVED * BATCH, (ACCIDENT + 1 + SKIP_PAST) * BATCH)

pytestmark = pytest.mark.slow


def options(dataset: Path, run: Path, *more: str) -> list[str]:
    """Arguments of `train`."""
    sets = [f"data.datasets={dataset}", f"train.steps={STEPS}", *SETTINGS, *more]
    return ["gpt_tiny_cpu", "--run-dir", str(run), *[word for one in sets for word in ("--set", one)]]


def train_planted(dataset: Path, run: Path, *more: str) -> CompletedProcess[str]:
    """`train` with the benchmark's loss, which is not a number for a sample of one token repeated."""
    command = [sys.executable, "-m", "benchmarks.accidents", "train", *options(dataset, run, *more)]
    return run_warm(command, run.parent)


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on good text."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    trained(run.parent, *options(dataset, run))
    return run


@pytest.fixture(scope="module")
def spiked(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with three steps' samples of random tokens."""
    positions = range(ACCIDENT * BATCH, (ACCIDENT + 3) * BATCH)
    return plant(dataset, tmp_path_factory.mktemp("spiked") / "dataset", positions, repeated=False)


@pytest.fixture(scope="module")
def poisoned(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with one sample of one token repeated."""
    return plant(dataset, tmp_path_factory.mktemp("poisoned") / "dataset", [ACCIDENT * BATCH + 5], repeated=True)


def held_out(run: Path) -> float:
    return records(run, "validation")[-1]["loss"]


def skips(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / "skips.json").read_text(encoding="utf-8"))["skips"]


def who(run: Path, step: int) -> dict[str, Any]:
    """What `data who` says of a step."""
    result = CliRunner().invoke(app, ["who", str(run), "--step", str(step), "--samples", "0", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def assert_kinds_make_up_the_gradient(run: Path) -> None:
    for record in records(run, "train"):
        norms = [record[f"grad_norm_{kind}"] for kind in ("attention", "feed_forward", "norms", "embedding")]
        assert math.hypot(*norms) == pytest.approx(record["grad_norm"], rel=1e-3), record["step"]


def histogram_steps(run: Path) -> list[int]:
    found = EventAccumulator(str(run / "tensorboard"), size_guidance={"histograms": 0})
    found.Reload()
    return sorted({event.step for name in found.Tags()["histograms"] for event in found.Histograms(name)})


def assert_rolled_back_once(run: Path, quantity: str) -> None:
    (rollback,) = events(run, "rollback")
    assert (rollback["from_step"], rollback["to_step"]) == (ACCIDENT + 1, SAVED)
    assert (rollback["skipped_first"], rollback["skipped_stop"]) == LEFT_OUT
    assert (rollback["attempt"], rollback["quantity"]) == (1, quantity)
    assert [(skip["first"], skip["stop"]) for skip in skips(run)] == [LEFT_OUT]
    seen = [position for step in range(SAVED - 1, SAVED + 3) for position in who(run, step)["positions"]]
    assert seen == [*range(LEFT_OUT[0] - 2 * BATCH, LEFT_OUT[0]), *range(LEFT_OUT[1], LEFT_OUT[1] + 2 * BATCH)]


def test_a_spike_is_rolled_back_once_and_stays_left_out_after_a_restart(undisturbed, spiked, tmp_path):
    run = copy_at(undisturbed, SAVED, tmp_path / "run")
    said = trained(tmp_path, *options(spiked, run, f"train.stop_at_step={STEPS - 5}"))
    assert f"rolled back from step {ACCIDENT + 1} to {SAVED}" in said
    before = records(run, "train")[-1]["position"]
    trained(tmp_path, *options(spiked, run))
    assert_rolled_back_once(run, "loss")
    assert records(run, "train")[-1]["position"] == before + 5 * BATCH
    assert held_out(run) == pytest.approx(held_out(undisturbed), rel=TOLERANCE)


def test_a_nan_is_rolled_back_once(undisturbed, poisoned, tmp_path):
    run = copy_at(undisturbed, SAVED, tmp_path / "run")
    drawn = ("logging.tensorboard=true", f"logging.histograms_every_steps={SAVED // 2}")
    result = train_planted(poisoned, run, "train.log_every_steps=1", *drawn)
    assert result.returncode == 0, result.stderr
    assert_rolled_back_once(run, "nan")
    assert held_out(run) == pytest.approx(held_out(undisturbed), rel=TOLERANCE)
    assert_kinds_make_up_the_gradient(run)
    assert all(math.isfinite(record["loss_mean"]) for record in records(run, "train"))
    assert histogram_steps(run) == [STEPS], "none of the step that it went back to, with the accident's gradients"


def test_an_update_that_is_left_out_is_read_as_it_was(undisturbed, spiked, tmp_path):
    run = copy_at(undisturbed, SAVED, tmp_path / "run")
    skip = ("stability.on_loss_spike=skip", "optimizer.clip_grad_norm=0.2", "train.log_every_steps=1")
    trained(tmp_path, *options(spiked, run, *skip, f"train.stop_at_step={ACCIDENT + 4}"))
    assert events(run, "update_skipped")
    assert_kinds_make_up_the_gradient(run)


def test_a_nan_ends_a_run_that_is_to_stop(undisturbed, poisoned, tmp_path):
    run = copy_at(undisturbed, SAVED, tmp_path / "run")
    result = train_planted(poisoned, run, "stability.on_nan=stop")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    message = result.stderr.rpartition("error: ")[2]
    assert f"step {ACCIDENT + 1}: the loss or the gradient is nan" in message
    assert f"data who {run} --step {ACCIDENT + 1}" in message and "peak_learning_rate" in message
    (diagnosis,) = events(run, "diagnosis")
    assert diagnosis["step"] == ACCIDENT + 1 and diagnosis["message"] in message.replace("\n", " ")
    assert events(run)[-1]["event"] == "failed" and not events(run, "rollback")
    assert not (run / "skips.json").exists()
    assert sorted(path.name for path in run.glob("checkpoints/step_*"))[-1] == f"step_{SAVED:08d}"


def test_samples_are_left_out_by_the_users_word(undisturbed, dataset, tmp_path):
    run = copy_at(undisturbed, SAVED, tmp_path / "run")
    first, stop = SAVED * BATCH + 5, SAVED * BATCH + 5 + 2 * BATCH
    before = SAVED * BATCH - 1
    said = training_is_refused(tmp_path, *options(dataset, run), "--skip-samples", f"{before}:{stop}")
    assert f"{before}:{stop} begins before position {SAVED * BATCH}" in said
    assert not (run / "skips.json").exists()
    end = f"train.stop_at_step={SAVED + 2}"
    trained(tmp_path, *options(dataset, run, end), "--skip-samples", f"{first}:{stop}")
    left_out = [(event["first"], event["stop"]) for event in events(run, "skip_samples")]
    assert left_out == [(skip["first"], skip["stop"]) for skip in skips(run)] == [(first, stop)]
    seen = [who(run, step)["positions"] for step in (SAVED + 1, SAVED + 2)]
    assert seen == [[*range(first - 5, first), *range(stop, stop + 11)], [*range(stop + 11, stop + 11 + BATCH)]]
    assert records(run, "train")[-1]["position"] == seen[-1][-1] + 1
    trained_on = {record["step"]: record["loss"] for record in records(run, "train")}
    assert trained_on[SAVED + 1] != records(undisturbed, "train")[SAVED]["loss"]
