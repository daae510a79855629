"""Where runs go on a machine: GPUs that an nvidia-smi of the test lists, or cores; and how they are started there."""

import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from comparison_plans import plan_of

from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.doctor import gpu
from megatron_recipe.errors import ConfigError
from megatron_recipe.kernels import planned
from megatron_recipe.lab import on_gpus, starters
from megatron_recipe.lab.asked import Asked
from megatron_recipe.lab.compare_command import compare_command
from megatron_recipe.lab.machine import run_seconds, this_machine
from megatron_recipe.lab.starters import commands
from megatron_recipe.plan.memory import estimate_memory
from megatron_recipe.plan.resolve import fits, resolve
from megatron_recipe.recipes import load_config

FOUR_H100S = "NVIDIA H100 80GB HBM3, 81559, 9.0\n" * 4
TOKENS = 10**9


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "answer_of", lambda *command: FOUR_H100S)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "answer_of", lambda *command: "")


@pytest.mark.usefixtures("gpus")
def test_each_gpu_takes_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = this_machine(None, None, 9)
    assert (found.devices, found.at_once) == (["0", "1", "2", "3"], 4)
    assert found.hardware is not None and found.hardware.name == "h100_80"
    assert this_machine(2, None, 9).devices == ["0", "1"]
    assert this_machine(None, None, 3).at_once == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert this_machine(None, None, 9).devices == ["3", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine(None, None, 9).devices == []


@pytest.mark.usefixtures("gpus")
def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--gpus 5: 4 are visible here"):
        this_machine(5, None, 9)
    assert this_machine(0, 2, 9).hardware is None


@pytest.mark.usefixtures("gpus")
def test_runs_that_share_a_gpu_have_a_part_of_it() -> None:
    alone, shared = this_machine(2, None, 9), this_machine(2, 3, 9)
    assert alone.hardware is not None and shared.hardware is not None
    assert (shared.devices, shared.at_once) == (["0", "1"] * 3, 6)
    assert this_machine(2, 3, 4).at_once == 4
    assert shared.hardware.memory_bytes == alone.hardware.memory_bytes // 3
    assert shared.hardware.card == f"1/3 {alone.hardware.card}"
    config = load_config("gpt_100m")
    times = [run_seconds(config, 32_000, TOKENS, machine) for machine in (alone, shared)]
    assert times[0] is not None and times[1] is not None and times[1] > 2.9 * times[0]


@pytest.mark.usefixtures("gpus")
def test_a_run_in_a_part_of_a_gpu_is_told_what_fits_into_it(dataset: Path, monkeypatch, tmp_path: Path) -> None:
    asked: list[Config] = []
    monkeypatch.setattr(on_gpus, "commands", lambda devices, module: lambda config, folder, slot: asked.append(config))
    config = load_config("gpt_300m", (f"data.datasets={dataset}", "model.sequence_length_tokens=4096"))
    for jobs in (1, 3):
        on_gpus.on_gpus(this_machine(1, jobs, 9))(config, tmp_path, 0)
    assert asked[0] == config and config.batch.micro_batch_size_samples == "auto"
    hardware, vocab_size = this_machine(1, 1, 9).hardware, read_dataset_facts(dataset).vocab_size
    assert hardware is not None
    whole = resolve(config, vocab_size, hardware, 1)
    assert 1 <= asked[1].batch.micro_batch < whole.batch.micro_batch
    third = replace(hardware, memory_bytes=hardware.memory_bytes // 3)
    needed = [
        estimate_memory(planned(one, hardware.capability), vocab_size, 1, one.batch.micro_batch, one.memory.recompute)
        for one in (asked[1], whole)
    ]
    assert [fits(memory, third) for memory in needed] == [True, False]


@pytest.mark.usefixtures("gpus")
def test_what_does_not_fit_into_a_part_of_a_gpu_is_told_with_both_remedies(dataset: Path, tmp_path: Path) -> None:
    asked = Asked("learning_rate", recipe="gpt_3b", dataset=str(dataset), tokens=1e7, jobs=4, out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"and 1/4 NVIDIA H100 80 GB SXM has .* share a GPU than --jobs 4"):
        compare_command(asked)


@pytest.mark.usefixtures("no_gpu")
def test_cores_are_shared_among_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    shares = {jobs: this_machine(None, jobs, 20) for jobs in (None, 2, 3, 16)}
    assert {jobs: (one.at_once, one.threads) for jobs, one in shares.items()} == {
        None: (8, 1),
        2: (2, 4),
        3: (3, 2),
        16: (16, 1),
    }
    assert (this_machine(None, None, 1).at_once, this_machine(None, None, 1).threads) == (1, 8)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4")
    assert this_machine(None, None, 1).threads == 4


@pytest.mark.usefixtures("gpus")
def test_time_is_estimated_from_what_the_card_was_measured_at() -> None:
    config = load_config("gpt_1b")
    seconds = run_seconds(config, 32_000, TOKENS, this_machine(None, None, 9))
    assert seconds is not None
    assert TOKENS / 90_000 < seconds < TOKENS / 60_000  # measured on an H100: 82,000 tokens/s


def test_a_run_on_a_gpu_is_a_command_that_sees_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES" "$@"\necho error: no >&2\nexit 2\n', encoding="utf-8")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(starters.sys, "executable", str(python))
    run = plan_of("learning_rate", tmp_path).runs[0]
    process = commands(["GPU-a", "GPU-b"])(run.config, run.folder, 1)
    assert os.getpgid(process.pid) != os.getpgid(0)  # type: ignore[attr-defined]
    while process.poll() is None:
        time.sleep(0.01)
    assert process.poll() == 2
    first, second = (run.folder / "log.txt").read_text(encoding="utf-8").splitlines()
    asked = run.folder / "asked.yaml"
    assert first == f"GPU-b -m megatron_recipe.cli train --config {asked} --run-dir {run.folder}"
    assert second == "error: no"
    assert load_config(str(asked)) == run.config


def test_a_command_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from megatron_recipe.lab import starters;"
        "from megatron_recipe.recipes import load_config; starters.sys.executable = sys.argv[1];"
        "process = starters.commands(['0'])(load_config('gpt_tiny_cpu'), Path(sys.argv[2]), 0);"
        "print(process.pid, flush=True); time.sleep(60)"
    )
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    sleeper.chmod(0o755)
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(sleeper), str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()
