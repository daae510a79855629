"""A run whose terminal closes: it saves and stops, and under `nohup` it goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ENVIRONMENT, LAUNCH, SECONDS
from small_runs import arguments

TERMINAL_CLOSED = 128 + signal.SIGHUP


@pytest.fixture(autouse=True)
def tests_are_not_under_nohup() -> Iterator[None]:
    """Or not any more."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def begin(dataset: Path, run_dir: Path, *, under_nohup: bool) -> "subprocess.Popen[bytes]":
    """`./launch/pretrain_tiny.sh` in a session of its own; returns when it trains."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    started = subprocess.Popen(
        [*(["nohup"] if under_nohup else []), str(LAUNCH), *map(str, arguments(dataset, run_dir, "train.steps=5000"))],
        cwd=run_dir.parent,
        env={**ENVIRONMENT, "PATH": path, "NPROC_PER_NODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    records = run_dir / "metrics.jsonl"
    until = time.monotonic() + SECONDS
    while not records.exists() or len(records.read_bytes().splitlines()) < 2:
        assert started.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    return started


@pytest.mark.parametrize("under_nohup", [False, True])
def test_a_terminal_that_closes(dataset: Path, tmp_path: Path, under_nohup: bool) -> None:
    run_dir = tmp_path / "run"
    started = begin(dataset, run_dir, under_nohup=under_nohup)
    try:
        os.killpg(started.pid, signal.SIGHUP)
        if under_nohup:
            with pytest.raises(subprocess.TimeoutExpired):
                started.wait(4)
            os.killpg(started.pid, signal.SIGTERM)
        code = started.wait(SECONDS)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    assert code == (128 + signal.SIGTERM if under_nohup else TERMINAL_CLOSED)
    *_, last = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert (last["event"], last["reason"]) == ("stopped", "SIGTERM" if under_nohup else "SIGHUP")
    assert (run_dir / "checkpoints" / "latest").exists()
