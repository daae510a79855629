"""Readings of the host, and the time waited for data."""

import subprocess
import sys
import time

import pytest

from megatron_recipe.host_monitor import HostMonitor, TimedIterator


def test_host_readings_are_those_of_this_machine(tmp_path):
    monitor = HostMonitor(tmp_path)
    reading = monitor.read()
    assert 0 <= reading["host_cpu_percent"] <= 100
    assert 0 < reading["host_memory_percent"] < 100
    assert 0.01 < reading["process_memory_gb"] < reading["host_memory_used_gb"] * 1.5
    assert reading["disk_free_gb"] > 0


def test_the_process_counts_with_its_workers(tmp_path):
    monitor = HostMonitor(tmp_path)
    alone = monitor.read()["process_memory_gb"]
    hog = "import sys; data = bytearray(b'x') * 200_000_000; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hog], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert monitor.read()["process_memory_gb"] - alone == pytest.approx(0.2, abs=0.06)
        worker.communicate()


def test_only_the_wait_for_the_next_batch_counts():
    closed = []

    def slow():
        try:
            for number in range(3):
                time.sleep(0.03)
                yield number
        finally:
            closed.append(True)

    timed = TimedIterator(slow())
    assert next(timed) == 0
    time.sleep(0.1)  # the user's own work
    assert next(timed) == 1
    assert 0.06 <= timed.take_seconds() < 0.1
    assert timed.take_seconds() == 0
    timed.close()
    assert closed == [True]
    assert list(timed) == []
    TimedIterator(iter([])).close()  # an iterator without close
