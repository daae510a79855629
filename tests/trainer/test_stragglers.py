"""A slow rank is named, though a step takes equally long on all."""

import json
import os
import subprocess
import sys

import pytest
import torch

from megatron_recipe import stragglers
from megatron_recipe.stragglers import ForwardTimer, StragglerWatch

RANK = """
import json, sys, time
import torch, torch.distributed as dist
from megatron_recipe.rank_readings import gather_readings
from megatron_recipe.stragglers import ForwardTimer, StragglerWatch

rank, store = int(sys.argv[1]), dist.FileStore(sys.argv[2], 2)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
timer, watch = ForwardTimer(torch.device("cpu")), StragglerWatch(slow_seconds=0)
for record in range(4):
    began = time.perf_counter()
    for _ in range(2):  # steps of three micro-batches
        forward = timer.timed(lambda seconds: time.sleep(seconds))
        for micro_batch in range(3):
            forward(0.2 if micro_batch == 0 and record == 0 else 0.06 if rank == 1 else 0.01)
        dist.all_reduce(torch.ones(1))
    seconds = time.perf_counter() - began
    readings = gather_readings({"stage": 0, "forward_seconds": timer.take_seconds(), "whole": seconds})
    if rank == 0:
        fields = watch.read(readings)
        print(json.dumps([fields, watch.found, [reading["whole"] for reading in readings]]))
    else:
        assert readings == []
dist.barrier()
dist.destroy_process_group()
"""


def test_of_two_processes_the_slow_one_is_found(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    commands = [[sys.executable, "-c", RANK, str(rank), str(tmp_path / "store")] for rank in (0, 1)]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    records = [json.loads(line) for line in answers[0][0].splitlines()]
    assert [fields["slowest_rank"] for fields, _, _ in records] == [1, 1, 1, 1]
    for fields, _, (first, second) in records:
        assert fields["forward_seconds_slowest"] >= 0.06
        assert 0.01 <= fields["forward_seconds_fastest"] < 0.04  # without the first micro-batch of each step
        assert first == pytest.approx(second, rel=0.3)  # which says nothing of who is slow
    found = [found for _, found, _ in records]
    assert [bool(event) for event in found] == [False, False, True, False]
    assert found[2]["rank"] == 1
    assert found[2]["ratio_to_median"] > 1.5


def readings(*seconds: float, stages: tuple[int, ...] = ()) -> list[dict[str, float]]:
    stages = stages or (0,) * len(seconds)
    return [{"forward_seconds": value, "stage": stage} for value, stage in zip(seconds, stages, strict=True)]


def events(*records: list[dict[str, float]], slow_seconds: float = 0.0) -> list[int | None]:
    """The rank that each record's event names."""
    watch = StragglerWatch(slow_seconds)
    found = []
    for record in records:
        watch.read(record)
        found.append(watch.found["rank"] if watch.found else None)
    return found


def test_three_records_running_make_an_event_and_one_only():
    slow, even = readings(1, 1, 1.6, 1), readings(1, 1.1, 1.2, 1)
    assert events(slow, slow, slow, slow) == [None, None, 2, None]
    assert events(slow, slow, even, slow, slow) == [None] * 5
    assert events(slow, slow, readings(1, 1.6, 1, 1), slow, slow, slow) == [None, None, None, None, None, 2]
    assert events(*[readings(1, 1, 1.45, 1)] * 5) == [None] * 5


def test_a_moment_is_not_enough(monkeypatch):
    now = [100.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            now[0] += 10
            return now[0]

    monkeypatch.setattr(stragglers, "time", Clock)
    slow = readings(1, 1, 1.6, 1)
    assert events(*[slow] * 7, slow_seconds=45.0) == [None] * 5 + [2, None]


def test_stages_are_compared_among_themselves():
    unequal = readings(1, 1, 3, 3, stages=(0, 0, 1, 1))
    assert events(unequal, unequal, unequal) == [None, None, None]
    slow = readings(1, 1, 3, 5, stages=(0, 0, 1, 1))
    assert events(slow, slow, slow) == [None, None, 3]


def test_one_rank_has_nobody_to_wait_for():
    watch = StragglerWatch()
    assert watch.read(readings(1.0)) == {}
    assert watch.read([]) == {}
    assert watch.found is None


def test_a_step_of_one_micro_batch_counts_it():
    timer = ForwardTimer(torch.device("cpu"))
    assert timer.take_seconds() is None
    assert timer.timed(lambda value: value + 1)(1) == 2
    seconds = timer.take_seconds()
    assert seconds is not None
    assert 0 <= seconds < 0.1
