"""How a run's process is started: forked from one that has loaded Megatron already, or a command of its own.

A start costs 6-10 s of loading, as much as a small run trains. On a CPU the program loads torch and Megatron once and
forks a child for each run; a child begins with untouched global state, since nothing was built before the fork. On a
GPU each run is a command with its own CUDA_VISIBLE_DEVICES: a CUDA that is awake does not survive a fork.

A child ends with the program that started it, also when that is killed, and is in a process group of its own: Ctrl-C
reaches the program alone, which asks its children to save and stop.
"""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from megatron_recipe.config import Config
from megatron_recipe.errors import RecipeError
from megatron_recipe.light_imports import light_imports
from megatron_recipe.parent_death import SIGNALS, die_with_parent
from megatron_recipe.recipes import write_config

LOG = "log.txt"
ASKED = "asked.yaml"
"""A run's configuration as it was asked for; its config.yaml is the trainer's own."""
MISTAKE, CRASH = 2, 1


class Process(Protocol):
    """A run's process."""

    def poll(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it lives."""
        ...

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        ...


Starter = Callable[[Config, Path, int], Process]
"""Starts a run's process: its configuration, its folder, and its slot, from 0: the place among those that run at the
same time."""
Train = Callable[[Config, Path], object]
"""What is done in a run's process, with its configuration in its folder."""
TRAIN = ("megatron_recipe.cli", "train")


@dataclass
class Forked:
    """A child of this process."""

    pid: int
    code: int | None = field(default=None)

    def poll(self) -> int | None:
        """Its exit code; None while it lives."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)


def forking(threads: int, work: Train | None = None) -> Starter:
    """Load torch and Megatron now; each run is then a fork. For runs on the CPU.

    Args:
        threads: of each run's arithmetic.
        work: what a run does; None trains.
    """
    import torch

    with light_imports():
        from megatron_recipe.train import train

    def start(config: Config, folder: Path, slot: int) -> Process:
        log = open_log(folder)
        parent = os.getpid()
        pid = os.fork()
        if pid:
            os.close(log)
            return Forked(pid)
        code = CRASH
        try:
            begin_child(parent, log)
            torch.set_num_threads(threads)
            (work or train)(config, folder)
            code = 0
        except RecipeError as error:
            print(f"error: {error}", file=sys.stderr)
            code = MISTAKE
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # what the parent would do at its own end is none of the child's business

    return start


def commands(devices: list[str], module: tuple[str, ...] = TRAIN) -> Starter:
    """Each run is a command. For runs on GPUs.

    Args:
        devices: the GPU of each slot, as CUDA_VISIBLE_DEVICES names it.
        module: with its first arguments, what Python runs; it takes --config and --run-dir.
    """

    def start(config: Config, folder: Path, slot: int) -> Process:
        asked = folder / ASKED
        write_config(config, asked)
        log = open_log(folder)
        command = [sys.executable, "-m", *module, "--config", str(asked), "--run-dir"]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": devices[slot]}
        try:
            return subprocess.Popen(
                [*command, str(folder)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=die_with_parent,
            )
        finally:
            os.close(log)

    return start


def open_log(folder: Path) -> int:
    """File descriptor of the run's log, at its end: what a continued run says follows what it said before."""
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def begin_child(parent: int, log: int) -> None:
    """What a fork does first: its end is tied to its parent's, its words go to the log, signals are its own."""
    die_with_parent()
    if os.getppid() != parent:  # it ended before it could be tied to
        os._exit(CRASH)
    os.setpgid(0, 0)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
