"""All observers together make the fields of one record."""

import time
from collections.abc import Generator

import pytest
import torch

from megatron_recipe.observation import Observation
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config

RANKS = Ranks(rank=0, world_size=1, data_rank=0, data_size=1, device=torch.device("cpu"))


class Gpu:
    """Takes 100 joules between two readings."""

    def __init__(self) -> None:
        self.joules = 0.0

    def read(self) -> dict[str, float]:
        self.joules += 100.0
        return {"gpu_energy_joules": self.joules, "gpu_power_watts": 50.0}


def slow_batches() -> Generator[int]:
    while True:
        time.sleep(0.02)
        yield 1


@pytest.fixture
def observation(megatron_groups, tmp_path):
    observation = Observation(load_config("gpt_tiny_cpu"), tmp_path, RANKS)
    yield observation
    observation.close()


def test_a_record_has_all_that_was_measured(observation):
    observation.gpu = Gpu()
    batches = observation.timed(slow_batches())
    for _ in range(2):
        forward = observation.forward.timed(lambda: next(batches))
        assert forward() == 1
    fields = observation.read(seconds=0.1, tokens=50)
    assert 0.04 <= fields["data_wait_seconds"] < 0.2
    assert fields["data_wait_share"] == pytest.approx(fields["data_wait_seconds"] / 0.1)
    assert (fields["gpu_power_watts"], fields["gpu_energy_joules"]) == (50.0, 100.0)
    assert fields["host_memory_used_gb"] > 0
    assert "slowest_rank" not in fields  # there is one rank
    again = observation.read(seconds=0.1, tokens=25)
    assert again["data_wait_seconds"] == 0
    assert again["joules_per_token"] == 4.0


def test_without_a_gpu_its_fields_are_left_out(observation, capsys):
    fields = observation.read(seconds=1.0, tokens=1)
    assert not [name for name in fields if name.startswith("gpu_") or "joules" in name]
    assert fields["data_wait_seconds"] == 0
    assert capsys.readouterr().err == ""
