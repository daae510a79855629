"""The project's commands, started as a user starts them: in processes of their own, on the CPU."""

import atexit
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WARM_SERVER = Path(__file__).with_name("warm_server.py")
LAUNCH = ROOT / "launch/pretrain_tiny.sh"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
SECONDS = 300
NEEDS_RSYNC = pytest.mark.skipif(shutil.which("rsync") is None, reason="apt-get install rsync")

Arguments = Sequence[object]


def recipe_command(arguments: Arguments) -> list[str]:
    """`megatron-recipe ARGUMENTS`."""
    return [sys.executable, "-m", "megatron_recipe.cli", *map(str, arguments)]


def torchrun_command(processes: int, arguments: Arguments) -> list[str]:
    """`torchrun --nproc-per-node PROCESSES launch/pretrain_tiny.sh ARGUMENTS`."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*torchrun, str(LAUNCH), *map(str, arguments)]


def run(command: Sequence[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run to the end; the caller looks at the exit code."""
    return subprocess.run(
        command, cwd=cwd, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=SECONDS
    )


def processor_seconds(command: Sequence[str], cwd: Path) -> float:
    """What a command that ends well computes for: the time it takes where nothing else runs, which is not so here."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(command, cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@cache
def warm_python() -> Path:
    """A stand-in for Python whose processes are forked by a server that has imported the libraries: warm_server.py."""
    folder = Path(tempfile.mkdtemp(prefix="warm_python_"))
    atexit.register(shutil.rmtree, folder)
    socket, stand_in = folder / "socket", folder / "python"
    command = [sys.executable, WARM_SERVER, socket]
    with (folder / "errors").open("w") as errors:
        server = subprocess.Popen(command, env=ENVIRONMENT, stdout=errors, stderr=errors, start_new_session=True)
    deadline = time.monotonic() + SECONDS
    while not socket.exists():
        assert server.poll() is None and time.monotonic() < deadline, (folder / "errors").read_text()
        time.sleep(0.01)
    stand_in.write_text(
        f"#!{sys.executable} -IS\n"
        f"import sys\nsys.path.insert(0, {str(WARM_SERVER.parent)!r})\n"
        f"from warm_server import ask, end_as\nend_as(ask({str(socket)!r}, sys.argv[1:]))\n"
    )
    stand_in.chmod(0o700)
    return stand_in


def run_warm(command: Sequence[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`run` without the seconds of importing; for a `command` that begins with Python, also torchrun and its ranks."""
    assert command[0] == sys.executable
    stand_in = str(warm_python())
    return run([stand_in, *command[1:]], cwd, **environment, PYTHON_EXEC=stand_in)


def megatron_recipe(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `megatron-recipe ARGUMENTS` to the end."""
    return run(recipe_command(arguments), cwd)


def interrupt(
    command: Sequence[str], cwd: Path, when: Callable[[], bool], number: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """Start, send `number` as soon as `when()` holds, and wait for the end.

    SIGINT goes to all processes of the command, as Ctrl-C in a terminal does; other signals to the first alone.
    """
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + SECONDS
        while not when():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"not interrupted in time: {process.communicate()[1]}")
            time.sleep(0.005)
        (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
        stdout, stderr = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def sets(*overrides: str) -> list[str]:
    """`--set A --set B …`"""
    return [word for override in overrides for word in ("--set", override)]
