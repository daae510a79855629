"""The profiled steps are those that were asked for, and their trace can be read."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from commands import run_warm, torchrun_command
from small_runs import arguments

from megatron_recipe.parallel import Ranks
from megatron_recipe.profile_trace import StepProfiler
from megatron_recipe.recipes import load_config


def ranks(rank: int = 0) -> Ranks:
    return Ranks(rank=rank, world_size=2, data_rank=rank, data_size=2, device=torch.device("cpu"))


def run_steps(run_dir: Path, steps: range, wanted: tuple[int, int], rank: int = 0) -> list[int]:
    """Take steps of one matrix product each; returns those after which a profile was begun or written."""
    overrides = (f"logging.profile_first_step={wanted[0]}", f"logging.profile_last_step={wanted[1]}")
    profiler = StepProfiler(load_config("gpt_tiny_cpu", overrides), run_dir, ranks(rank))
    profiler.begin(steps.start - 1)
    took_time = []
    for step in steps:
        torch.ones(2, 3) @ torch.ones(3, 4)
        took_time += [step] if profiler.step(step) else []
    profiler.close()
    return took_time


def products(trace: Path) -> int:
    """Matrix products in a trace."""
    with gzip.open(trace) as file:
        events = json.load(file)["traceEvents"]
    return sum(event.get("name") == "aten::mm" for event in events)


@pytest.mark.parametrize(
    ("steps", "name", "count"),
    [
        (range(1, 9), "rank0_steps_3_5", 3),
        (range(4, 9), "rank0_steps_4_5", 2),  # continued inside
        (range(1, 5), "rank0_steps_3_4", 2),  # ended inside
    ],
)
def test_the_wanted_steps_are_in_the_trace(tmp_path, steps, name, count):
    run_steps(tmp_path, steps, (3, 5))
    assert {path.name for path in (tmp_path / "profile").iterdir()} == {f"trace_{name}.json.gz", f"top_{name}.txt"}
    assert products(tmp_path / "profile" / f"trace_{name}.json.gz") == count
    assert "aten::mm" in (tmp_path / "profile" / f"top_{name}.txt").read_text()


def test_nothing_is_profiled_unasked_or_elsewhere(tmp_path):
    run_steps(tmp_path, range(1, 4), (0, 0))
    run_steps(tmp_path, range(6, 9), (3, 5))
    assert run_steps(tmp_path, range(1, 4), (1, 2), rank=1) == []
    assert list(tmp_path.iterdir()) == []


def test_the_seconds_of_a_profile_are_told(tmp_path):
    assert run_steps(tmp_path, range(1, 9), (3, 5)) == [2, 5]


def test_the_first_step_of_a_run_can_be_profiled(tmp_path):
    assert run_steps(tmp_path, range(1, 4), (1, 1)) == [1]
    assert products(tmp_path / "profile/trace_rank0_steps_1_1.json.gz") == 1


def test_a_profile_that_cannot_be_written_is_a_warning(tmp_path, capsys):
    (tmp_path / "profile").write_text("a file in the folder's place")
    run_steps(tmp_path, range(1, 4), (1, 2))
    assert "no complete profile of steps 1 to 2" in capsys.readouterr().err


@pytest.mark.slow
def test_a_profile_may_begin_at_a_step_with_histograms(dataset, tmp_path):
    """Only the first rank profiles, and for histograms all ranks gather weights."""
    drawn = ("logging.tensorboard=true", "logging.histograms_every_steps=4")
    profiled = ("logging.profile_first_step=5", "logging.profile_last_step=5", "parallel.timeout_seconds=30")
    words = arguments(dataset, tmp_path / "run", "train.stop_at_step=6", *drawn, *profiled)
    result = run_warm(torchrun_command(2, words), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "run").rglob("*trace*"))
