"""All instruments together make the fields of one record."""

import time
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist

from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config
from megatron_recipe.run_readings import RunReadings
from megatron_recipe.stragglers import StragglerWatch


@pytest.fixture
def one_process() -> Iterator[Ranks]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Ranks(rank=0, world_size=1, data_rank=0, data_size=1, device=torch.device("cpu"))
    dist.destroy_process_group()


class Gpu:
    """Takes 100 joules between two readings."""

    def __init__(self) -> None:
        self.joules = 0.0

    def read(self) -> dict[str, float]:
        self.joules += 100.0
        return {"gpu_energy_joules": self.joules, "gpu_power_watts": 50.0}


def slow_batches() -> Iterator[int]:
    while True:
        time.sleep(0.02)
        yield 1


def test_a_record_has_all_that_was_measured(one_process, tmp_path):
    readings = RunReadings(load_config("gpt_tiny_cpu"), tmp_path, one_process, stage=0)
    readings.gpu = Gpu()  # type: ignore[assignment]
    batches = readings.timed_batches(slow_batches())
    for _ in range(2):
        forward = readings.timed_forward(lambda: next(batches))
        assert forward() == 1
    fields = readings.read(seconds=0.1, tokens=50)
    assert 0.04 <= fields["data_wait_seconds"] < 0.2
    assert fields["data_wait_share"] == pytest.approx(fields["data_wait_seconds"] / 0.1)
    assert (fields["gpu_power_watts"], fields["gpu_energy_joules"], fields["joules_per_token"]) == (50.0, 100.0, 2.0)
    assert fields["host_memory_used_gb"] > 0
    assert "slowest_rank" not in fields  # there is one rank
    assert readings.straggler() is None
    again = readings.read(seconds=0.1, tokens=25)
    assert again["data_wait_seconds"] == 0
    assert again["joules_per_token"] == 4.0


def test_without_a_gpu_its_fields_are_left_out(one_process, tmp_path, capsys):
    fields = RunReadings(load_config("gpt_tiny_cpu"), tmp_path, one_process, stage=0).read(seconds=1.0, tokens=1)
    assert not [name for name in fields if name.startswith("gpu_") or "joules" in name]
    assert fields["data_wait_seconds"] == 0
    assert capsys.readouterr().err == ""


def test_a_slow_rank_is_told_once(one_process, tmp_path, capsys):
    readings = RunReadings(load_config("gpt_tiny_cpu"), tmp_path, one_process, stage=0)
    readings.stragglers = StragglerWatch(slow_seconds=0)
    slow = [{"forward_seconds": 1.0, "stage": 0}, {"forward_seconds": 2.0, "stage": 0}]
    told = []
    for _ in range(4):
        readings.stragglers.read(slow)
        told.append(readings.straggler())
    assert [bool(found) for found in told] == [False, False, True, False]
    assert "rank 1 is slow: its forward pass takes 2.0 ×" in capsys.readouterr().err
