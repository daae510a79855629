"""A process that stands still is ended, and tells where it stood."""

import subprocess
import sys
import time

import pytest
from commands import ENVIRONMENT

from megatron_recipe.hang_watch import HangWatch

STANDS_STILL = """
import sys, time
from pathlib import Path
from megatron_recipe.hang_watch import HangWatch

def wait_for_nothing():
    time.sleep(60)

watch = HangWatch(Path(sys.argv[1]), 3, timeout_seconds=0.3)
time.sleep(0.5)  # before the first beat nothing counts
for _ in range(4):
    watch.beat()
    time.sleep(0.15)
with watch.pause():
    time.sleep(0.6)
print("still here", flush=True)
wait_for_nothing()
"""

ONE_RANK_SLEEPS = """
import sys, time
from datetime import timedelta
from pathlib import Path
import torch
import torch.distributed as dist
from megatron_recipe.hang_watch import HangWatch

def sleep_for_ever():
    time.sleep(600)

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
store = dist.FileStore(str(folder / "store"), 2)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
dist.barrier()
watch = HangWatch(folder, rank, timeout_seconds=1)
watch.beat()
if rank == 1:
    sleep_for_ever()
dist.all_reduce(torch.zeros(1))
"""

KEEPS_THE_LOCK = """
import ctypes, sys
from pathlib import Path
from megatron_recipe.hang_watch import HangWatch

def blocked_in_a_launch():
    ctypes.PyDLL(None).sleep(60)

watch = HangWatch(Path(sys.argv[1]), 0, timeout_seconds=0.2)
watch.beat()
blocked_in_a_launch()
"""


def test_the_stacks_name_the_line_and_the_process_ends_with_1(tmp_path):
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STANDS_STILL, str(tmp_path)], env=ENVIRONMENT, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, "still here\n")
    assert time.monotonic() - started < 20
    (line,) = done.stderr.splitlines()
    assert line.startswith("rank 3 made no progress for 0.3 s") and str(tmp_path / "hang_rank3.txt") in line
    stacks = (tmp_path / "hang_rank3.txt").read_text()
    assert "wait_for_nothing" in stacks and "rank 3" in stacks


def test_a_folder_that_is_gone_does_not_keep_it_alive(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STANDS_STILL, str(tmp_path / "gone")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "wait_for_nothing" in done.stderr and "No such file" in done.stderr.splitlines()[-1]


def test_a_closed_watch_ends_nothing(tmp_path):
    watch = HangWatch(tmp_path, 0, timeout_seconds=0.05)
    watch.beat()
    watch.close()
    time.sleep(0.2)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_keeps_pythons_lock_is_ended_too(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KEEPS_THE_LOCK, str(tmp_path)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "blocked_in_a_launch" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_two_ranks_of_which_one_sleeps_both_tell_where_they_stood(tmp_path):
    ranks = [
        subprocess.Popen([sys.executable, "-c", ONE_RANK_SLEEPS, str(tmp_path), str(rank)], env=ENVIRONMENT)
        for rank in range(2)
    ]
    assert [rank.wait(timeout=90) for rank in ranks] == [1, 1]
    assert "in all_reduce" in (tmp_path / "hang_rank0.txt").read_text()
    assert "sleep_for_ever" in (tmp_path / "hang_rank1.txt").read_text()
