"""multinode.sh and slurm.sbatch before they start anything: options, the place towards the head, what would be run.

That they train is shown by tests/cluster, which needs root, network namespaces and Slurm.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import LAUNCH, ROOT

sys.path.insert(0, str(ROOT / "launch"))

from rendezvous import address_towards, interface_of, is_own

MULTINODE = ROOT / "launch/multinode.sh"


def multinode(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    names = ("NUM_NODES", "MASTER_ADDR", "MASTER_PORT", "PET_NPROC_PER_NODE")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(MULTINODE), *map(str, arguments)],
        cwd=cwd,
        env={**clean, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_dry_run_says_the_whole_command(tmp_path: Path) -> None:
    line = ("--nodes", 2, "--head", "127.0.0.1", "--restarts", 5, "--dry-run", LAUNCH, "--set", "train.steps=7")
    result = multinode(*line, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "this machine is 127.0.0.1, the head" in result.stderr
    assert "then an all-reduce over all ranks" in result.stderr
    for part in ("--nnodes=2", "--rdzv-endpoint=127.0.0.1:29400", "is_host=true", "--max-restarts=5"):
        assert part in result.stderr
    assert result.stderr.rstrip().endswith(f"{LAUNCH} --set train.steps=7")
    assert list(tmp_path.iterdir()) == []


def test_a_platforms_variables_count_and_options_before_them(tmp_path: Path) -> None:
    platform = {"NUM_NODES": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "4000", "PET_NPROC_PER_NODE": "8"}
    said = multinode("--dry-run", LAUNCH, cwd=tmp_path, **platform).stderr
    assert "--nnodes=4" in said and "127.0.0.1:4000" in said and "--nproc-per-node=8" in said
    assert "--nnodes=2" in multinode("--nodes", "2", "--dry-run", LAUNCH, cwd=tmp_path, **platform).stderr


def test_one_machine_with_one_process_has_nothing_to_send(tmp_path: Path) -> None:
    said = multinode("--dry-run", LAUNCH, cwd=tmp_path, PET_NPROC_PER_NODE="1").stderr
    assert "would look: megatron-recipe doctor\n" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nodes", "two", LAUNCH], "--nodes two"),
        (["--nodes", "2", LAUNCH], "needs --head"),
        (["--port", "70000", LAUNCH], "--port 70000"),
        (["--restarts", "-1", LAUNCH], "--restarts -1"),
        (["--nods", "2", LAUNCH], "--nods is not known; it has --nodes"),
        (["--nodes"], "--nodes needs a value"),
        ([], "name a launch file"),
        (["launch/nothing.sh"], "launch/nothing.sh: no such file"),
        (["--nodes", "2", "--head", "no-such-host.invalid", LAUNCH], "no-such-host.invalid"),
    ],
)
def test_a_wrong_option_is_one_message_and_2(arguments: list[object], words: str, tmp_path: Path) -> None:
    result = multinode(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr


def test_the_place_towards_the_head() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("192.0.2.1")  # kept for documents (RFC 5737): no machine has it
    assert address_towards("127.0.0.1") == "127.0.0.1"
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.1") == ""


def test_env_sh_keeps_what_is_set(tmp_path: Path) -> None:
    script = f". {ROOT}/launch/env.sh; echo $NCCL_DEBUG $TORCH_DISABLE_SHARE_RDZV_TCP_STORE $PET_NPROC_PER_NODE"
    done = subprocess.run(
        ["sh", "-euc", script],
        env={"PATH": os.environ["PATH"], "NCCL_DEBUG": "INFO", "PET_NPROC_PER_NODE": "3"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "INFO 1 3\n", done.stderr


def test_slurm_sbatch_asks_for_what_a_preemption_needs(tmp_path: Path) -> None:
    text = (ROOT / "launch/slurm.sbatch").read_text(encoding="utf-8")
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert "requeue" in options and options["open-mode"] == "append"
    assert re.fullmatch(r"B:USR1@\d+", options["signal"])
    outside = subprocess.run(["bash", str(ROOT / "launch/slurm.sbatch")], capture_output=True, text=True, cwd=tmp_path)
    assert outside.returncode == 2 and "sbatch launch/slurm.sbatch" in outside.stderr


@pytest.mark.parametrize(
    ("report", "code", "expected", "said"),
    [
        ("ok    Python: 3.12\nwarn  disk: full  → a larger one", 0, 0, "warn  disk"),
        ("ok    Python: 3.12\nfail  torch: none  → make setup", 1, 1, "fail  torch"),
    ],
)
def test_the_preflight_stops_for_a_failure_of_the_doctor(
    report: str, code: int, expected: int, said: str, tmp_path: Path
) -> None:
    doctor = tmp_path / "megatron-recipe"
    doctor.write_text(f"#!/bin/sh\nprintf '%s\\n' '{report}'\nexit {code}\n", encoding="utf-8")
    doctor.chmod(0o755)
    result = subprocess.run(
        ["bash", str(ROOT / "launch/preflight.sh")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == expected
    assert said in result.stderr and "Python" not in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 0)])
def test_a_signal_between_two_attempts_ends_it(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """No rank lives then, and the next attempt must not begin."""
    (tmp_path / "launch").mkdir()
    for name in ("multinode.sh", "env.sh", "rendezvous.py"):
        shutil.copy(ROOT / "launch" / name, tmp_path / "launch")
    python = tmp_path / "python3"
    place = f'case "$*" in *rendezvous.py*) exec {sys.executable} "$@";; esac'
    python.write_text(f"#!/bin/sh\n{place}\necho >>{tmp_path}/starts\nexit 7\n")
    python.chmod(0o755)
    process = subprocess.Popen(
        ["bash", tmp_path / "launch/multinode.sh", LAUNCH],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PREFLIGHT": "off"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "starting again, 1 of 3" in process.stderr.readline()
    time.sleep(0.1)  # into the pause
    process.send_signal(number)
    assert process.wait(10) == code
    assert "the same line continues" in process.stderr.read()
    assert len((tmp_path / "starts").read_text().splitlines()) == 1
