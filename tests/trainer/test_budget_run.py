"""A run on a budget of seconds, killed once, ends decayed when the budget is spent; one of tokens has so many steps."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from commands import SECONDS, megatron_recipe, sets
from flows import events
from small_runs import arguments, records

from benchmarks.faults import log_of, newest_step, start

BUDGET_SECONDS = 45
WARNED_AT = 0.8
MIN_RATE = 4e-4
SETTINGS = ("schedule.decay=wsd", f"budget.amount={BUDGET_SECONDS}", "budget.unit=seconds")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def budget_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed after a third of its budget, and continued to its end."""
    run = tmp_path_factory.mktemp("budget") / "run"
    process = start(dataset, run, 1, *SETTINGS)
    deadline = time.monotonic() + SECONDS
    while not (newest_step(run) and spent(run) > BUDGET_SECONDS / 3):
        assert process.poll() is None and time.monotonic() < deadline, log_of(run)
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert start(dataset, run, 1, *SETTINGS).wait(SECONDS) == 0, log_of(run)
    return run


def spent(run: Path) -> float:
    """Seconds of all the run's lives, as it remembers them."""
    path = run / "spending.json"
    if not path.exists():
        return 0.0
    return sum(life["seconds"] for life in json.loads(path.read_text(encoding="utf-8"))["instances"])


def test_what_is_spent_is_the_budget(budget_run):
    assert len(json.loads((budget_run / "spending.json").read_text(encoding="utf-8"))["instances"]) == 2
    assert [event["step"] > 0 for event in events(budget_run, "start", "resume")] == [False, True]
    assert spent(budget_run) == pytest.approx(BUDGET_SECONDS, rel=0.02)


def test_the_model_is_decayed(budget_run):
    rates = [record["learning_rate"] for record in records(budget_run, "train")]
    assert MIN_RATE <= rates[-1] <= 1.3 * MIN_RATE
    assert max(rates) == pytest.approx(4e-3)
    assert records(budget_run, "validation")[-1]["step"] == newest_step(budget_run)


def test_it_warns_once(budget_run):
    (warning,) = events(budget_run, "budget_warning")
    assert WARNED_AT <= warning["spent"] / BUDGET_SECONDS < 1
    assert log_of(budget_run).count("are spent") == 1


def test_a_budget_of_tokens_is_a_number_of_steps(dataset, tmp_path):
    steps = sets("train.steps=20", "train.stop_at_step=0")
    result = megatron_recipe(
        "train", "gpt_tiny_cpu", *arguments(dataset, tmp_path / "run"), *steps, "--budget", "7500tokens", "--dry-run",
        cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "for 7 steps, 7,168 tokens" in result.stderr  # 16 samples of 64 tokens a step
