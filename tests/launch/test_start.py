"""Starting ranks: wrong input is said once and ends with 2, ends of ranks are plain words, idle GPUs are named."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import ENVIRONMENT, LAUNCH, SECONDS, run, torchrun_command

from megatron_recipe import launch
from megatron_recipe.doctor import gpu
from megatron_recipe.errors import MachineError
from megatron_recipe.train_command import warn_of_idle_gpus

WRONG = ("--set", "data.datasets=nowhere")


def started_as_a_file(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`./launch/pretrain_tiny.sh ARGUMENTS`, with this Python where the checkout has no .venv."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(LAUNCH), *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_a_wrong_input_ends_before_any_rank_starts(tmp_path: Path) -> None:
    result = started_as_a_file(*WRONG, cwd=tmp_path, NPROC_PER_NODE="4")
    assert result.returncode == 2
    assert result.stderr.count("nowhere: not a dataset") == 1
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_shows_the_usage_once(tmp_path: Path) -> None:
    result = started_as_a_file("--nonsense", cwd=tmp_path, NPROC_PER_NODE="2")
    assert result.returncode == 2
    assert result.stderr.count("No such option") == 1 and "Traceback" not in result.stderr


def test_under_torchrun_two_ranks_say_a_wrong_input_once(tmp_path: Path) -> None:
    result = run(torchrun_command(2, WRONG), cwd=tmp_path)
    assert result.returncode != 0
    assert result.stderr.count("nowhere: not a dataset") == 1
    assert "exitcode  : 2" in result.stderr
    assert "traceback : see the line above" in result.stderr


def test_the_first_of_a_machines_ranks_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "SAYING_SECONDS", 0.0)
    assert launch.is_first_to_say("no torchrun here")

    for rank, expected in ((0, True), (1, False)):
        (tmp_path / str(rank)).mkdir()
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / str(rank) / "error.json"))
        assert launch.is_first_to_say("the same") is expected
    assert launch.is_first_to_say("another message of rank 1")


@pytest.mark.parametrize(
    ("options", "devices", "expected"),
    [
        (["--standalone", "--nproc-per-node=4"], None, 4),
        (["--nnodes=2", "--nproc-per-node=4"], None, 8),
        (["--nnodes=1:3", "--nproc-per-node=2"], None, 6),
        (["--nproc-per-node=gpu"], "0,1,5", 3),
        (["--nproc-per-node=gpu"], "0,-1,5", 1),
        (["--nproc-per-node=gpu"], "-1", None),
        (["--nproc-per-node=gpu"], None, None),
        (["--nnodes=2", "--nproc-per-node=auto"], None, None),
    ],
)
def test_the_number_of_processes_is_known_before_they_start(
    options: list[str], devices: str | None, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "installed_gpus", lambda: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if devices is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    assert launch.world_size(options) == expected


def test_how_a_rank_ended_is_one_line_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    killed = SimpleNamespace(exitcode=-9, local_rank=1, pid=77, signal_name=lambda: "SIGKILL")
    assert launch.code_of(5, killed) == 137
    said = capsys.readouterr().err
    assert said.startswith(
        "error: rank 5 (local rank 1, process 77) ended first, with signal SIGKILL; the kernel mostly"
    )
    assert "the same command continues" in said
    assert launch.code_of(0, SimpleNamespace(exitcode=2)) == 2
    assert capsys.readouterr().err == ""  # the rank has said it


def test_no_gpu_where_gpus_were_asked_for_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match=r"torch sees no GPU here.*NPROC_PER_NODE=1"):
        launch.run_ranks(["--standalone", "--nproc-per-node=gpu", "file"])


def test_idle_gpus_are_said_and_the_variable_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`torchrun launch/pretrain_1b.sh` outside of our images starts one process on a machine of eight GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    warn_of_idle_gpus()
    said = capsys.readouterr().err
    assert "8 GPUs are visible and 1 used" in said
    assert "PET_NPROC_PER_NODE=gpu" in said and "--nproc-per-node" in said

    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    warn_of_idle_gpus()
    assert capsys.readouterr().err == ""
