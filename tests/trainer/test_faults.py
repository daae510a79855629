"""Kills, damaged checkpoints, full disks, signals and clocks: nothing is lost, and the next start goes on."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import ENVIRONMENT, LAUNCH, SECONDS
from flows import events, trained, training_is_refused
from small_disk import small_disk
from small_runs import arguments, records

from benchmarks.faults import MODEL, SAVE_EVERY, damage, final_state, last_step, log_of, newest_step, same, start
from megatron_recipe import checkpoint_integrity

STEPS = 3 * SAVE_EVERY
LONG = 5000
"""Steps that no test waits for."""
EXIT_SECONDS = 30
LIMIT_SECONDS = 15

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to its end, with a checkpoint every ten steps."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    end_well(start(dataset, run, STEPS), run)
    return run


@pytest.fixture(scope="module")
def expected(undisturbed: Path) -> dict[str, Any]:
    """Its weights, optimizer states, schedule and counters."""
    return final_state(undisturbed)


def end_well(process: subprocess.Popen[bytes], run: Path) -> None:
    assert process.wait(SECONDS) == 0, log_of(run)


def wait_for(process: subprocess.Popen[bytes], run: Path, happened: Callable[[], bool]) -> None:
    """Wait until something happened in a run that goes on."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert process.poll() is None, log_of(run)
        assert time.monotonic() < deadline, log_of(run)
        time.sleep(0.002)


def kill_when(process: subprocess.Popen[bytes], run: Path, happened: Callable[[], bool]) -> None:
    wait_for(process, run, happened)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_kills_in_a_save_and_between_saves_change_nothing(dataset, expected, tmp_path):
    run = tmp_path / "run"

    def second_save_goes_on() -> bool:
        return any(run.glob(f"checkpoints/.step_{2 * SAVE_EVERY:08d}.*.partial"))

    kill_when(start(dataset, run, STEPS), run, second_save_goes_on)
    assert second_save_goes_on() and newest_step(run) == SAVE_EVERY
    second = start(dataset, run, STEPS)
    kill_when(second, run, lambda: newest_step(run) == 2 * SAVE_EVERY and last_step(run) > 2 * SAVE_EVERY)
    assert newest_step(run) < STEPS
    assert not second_save_goes_on()  # what the first kill left was cleaned up
    end_well(start(dataset, run, STEPS), run)
    assert [event["step"] for event in events(run, "start", "resume")] == [0, SAVE_EVERY, 2 * SAVE_EVERY]
    assert same(final_state(run), expected)


def test_a_bit_turned_in_the_newest_checkpoint_is_said_and_the_older_one_taken(
    dataset, undisturbed, expected, tmp_path
):
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    newest = run / f"checkpoints/step_{STEPS:08d}"
    largest = max(newest.iterdir(), key=lambda path: path.stat().st_size)
    damage(largest, "bit turned", random.Random(0))
    # no save is due at the end but that of every end, which takes the damaged one's place
    end_well(start(dataset, run, STEPS, "checkpoint.save_every_steps=0", "checkpoint.keep_best=false"), run)
    assert f"warning: checkpoint {newest.name}: {largest.name} differs from its checksum" in log_of(run)
    (said,) = events(run, "checkpoint_damaged")
    assert said["folder"] == newest.name and largest.name in said["reason"]
    assert events(run, "resume")[-1]["step"] == STEPS - SAVE_EVERY
    assert newest_step(run) == STEPS and checkpoint_integrity.damage(newest) is None
    assert same(final_state(run), expected)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB of its own."""
    with small_disk(tmp_path / "disk", "64m") as folder:
        yield folder


def test_a_disk_that_fills_up_in_the_middle_of_a_save(disk, dataset, undisturbed, expected, tmp_path):
    """There is room when the second save begins, and none before it ends."""
    run, ballast = disk / "run", disk / "ballast"
    (saved, *_) = events(undisturbed, "checkpoint_saved")
    room = saved["bytes"] // 2 + saved["bytes"] // 3
    # from the beginning: a second save that is quick would else meet the ballast half written
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - saved["bytes"] - room))
    process = start(dataset, run, STEPS)
    assert process.wait(SECONDS) == 2, log_of(run)
    failed = events(run, "checkpoint_failed")
    assert failed[0]["step"] == 2 * SAVE_EVERY and "the disk is full" in failed[0]["reason"]
    assert f"warning: no checkpoint of step {2 * SAVE_EVERY}" in log_of(run)
    assert [record["step"] for record in records(run, "train")] == list(range(1, STEPS + 1))  # it went on
    # at its end nothing could be saved either, and that is an error
    said, _, message = log_of(run).rpartition("error: ")
    assert "the last checkpoint could not be saved" in message and "the disk is full" in message
    assert "Traceback" not in said
    assert newest_step(run) == SAVE_EVERY
    assert checkpoint_integrity.damage(run / f"checkpoints/step_{SAVE_EVERY:08d}") is None
    ballast.unlink()
    end_well(start(dataset, run, STEPS), run)
    assert events(run, "resume")[-1]["step"] == SAVE_EVERY
    assert same(final_state(run), expected)


def long_arguments(dataset: Path, run: Path, *more: object) -> list[object]:
    """Arguments of `train` for a run that ends by itself only after LONG steps."""
    sets = [f"data.datasets={dataset}", f"train.steps={LONG}", *MODEL]
    return ["gpt_tiny_cpu", "--run-dir", run, *[word for one in sets for word in ("--set", one)], *more]


def test_signals_and_clocks_stop_in_time_and_the_next_start_goes_on(dataset, tmp_path):
    run = tmp_path / "run"
    for number in (signal.SIGTERM, signal.SIGUSR1):
        before = newest_step(run)
        process = start(dataset, run, LONG)
        wait_for(process, run, lambda before=before: last_step(run) > before + 2)
        if number is signal.SIGUSR1:
            said = training_is_refused(tmp_path, *long_arguments(dataset, run))
            assert f"process {process.pid} is training in this folder" in said
        process.send_signal(number)
        assert process.wait(EXIT_SECONDS) == 0, log_of(run)
        assert_stopped(run, before, number.name)
        assert "Traceback" not in log_of(run)
    before = newest_step(run)
    assert f"time limit of {LIMIT_SECONDS} s" in trained(
        tmp_path, *long_arguments(dataset, run, "--time-limit", f"{LIMIT_SECONDS}s")
    )
    assert_stopped(run, before, "time limit")
    lives = json.loads((run / "spending.json").read_text(encoding="utf-8"))["instances"]
    assert len(lives) == 3 and LIMIT_SECONDS / 2 < lives[-1]["seconds"] <= LIMIT_SECONDS
    last = newest_step(run)
    trained(tmp_path, *long_arguments(dataset, run, "--set", f"train.stop_at_step={last + 1}"))
    assert [record["step"] for record in records(run, "train")] == list(range(1, last + 2))  # none twice, none left out


def assert_stopped(run: Path, before: int, reason: str) -> None:
    """The run went on after step `before`, and saved where it stopped."""
    resumed, stopped = events(run, "start", "resume")[-1], events(run, "stopped")[-1]
    assert resumed["step"] == before < stopped["step"] == last_step(run) == newest_step(run)
    assert stopped["reason"] == reason


def test_a_time_limit_is_kept_by_a_run_that_never_saved_before(dataset, tmp_path):
    run = tmp_path / "run"
    never = ("--set", "checkpoint.save_every_steps=0")
    trained(tmp_path, *long_arguments(dataset, run, *never, "--time-limit", f"{LIMIT_SECONDS}"))
    assert_stopped(run, 0, "time limit")
    (life,) = json.loads((run / "spending.json").read_text(encoding="utf-8"))["instances"]
    assert LIMIT_SECONDS / 2 < life["seconds"] <= LIMIT_SECONDS


def test_torchrun_restarts_a_run_whose_rank_was_killed(dataset, two_process_run, tmp_path):
    run, log = tmp_path / "run", tmp_path / "run.log"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    stop = ("train.stop_at_step=8", "checkpoint.save_every_steps=4")
    command = [*torchrun, str(LAUNCH), *map(str, arguments(dataset, run, *stop))]
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=ENVIRONMENT, cwd=tmp_path)
    try:
        wait_for(process, run, lambda: newest_step(run) == 4 and last_step(run) > 4)
        rank(process, 1).kill()
        assert process.wait(SECONDS) == 0, log_of(run)
    finally:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            child.kill()
        process.kill()
    assert [event["step"] for event in events(run, "start", "resume")] == [0, 4]
    assert re.search(r"restart|Restart", log_of(run))
    assert same(final_state(run), final_state(two_process_run))
    assert [entry["loss"] for entry in records(run, "train")] == [
        entry["loss"] for entry in records(two_process_run, "train")
    ]


def rank(process: subprocess.Popen[bytes], number: int) -> psutil.Process:
    """The trainer's process of one rank below torchrun."""
    (found,) = [
        child for child in psutil.Process(process.pid).children() if child.environ().get("LOCAL_RANK") == str(number)
    ]
    return found


def test_where_no_checkpoint_is_whole_nothing_is_begun_anew_unasked(dataset, undisturbed, tmp_path):
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    for folder in (run / "checkpoints").glob("step_*"):
        (folder / "metadata.json").write_bytes(b"")
    records = (run / "metrics.jsonl").read_bytes()
    process = start(dataset, run, STEPS)
    assert process.wait(timeout=SECONDS) == 2
    assert "checkpoints is whole" in log_of(run) and "when_none_is_whole=begin_anew" in log_of(run)
    assert (run / "metrics.jsonl").read_bytes() == records
    end_well(start(dataset, run, STEPS, "checkpoint.when_none_is_whole=begin_anew"), run)
    assert "beginning anew, as it is set" in log_of(run)
