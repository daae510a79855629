"""Copies of a run that are made while it trains: after each checkpoint, by a process of their own.

Training never waits for one. While a copy is under way the checkpoints that follow are left out, but for the newest. A
copy that fails is an event and a warning; the next checkpoint is the next attempt.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.config import CheckpointConfig
from megatron_recipe.errors import ConfigError, MachineError
from megatron_recipe.sync_branches import EVENTS, require_same_run
from megatron_recipe.sync_store import missing, open_store, require_elsewhere

LOG = "sync.log"
LAST_BYTES = 2000
POLL_SECONDS = 0.5


def check_sync(config: CheckpointConfig, run_dir: Path) -> None:
    """Raise an error now where a run could not be copied after its checkpoints.

    Raises:
        ConfigError: `checkpoint.sync_to` is no place, or has a run of this name that nobody brought back here.
        DataError: the run there is another one.
        MachineError: the program that copies is not installed.
    """
    if not config.sync_to:
        return
    store = open_store(config.sync_to)
    try:
        require_elsewhere(run_dir, config.sync_to)
    except ConfigError as error:
        raise ConfigError(f"checkpoint.sync_to={error}") from error
    if shutil.which(store.program) is None:
        raise missing(store.program)
    if os.environ.get("RANK", "0") != "0":
        return
    try:
        theirs = store.read(f"{run_dir.absolute().name}/{EVENTS}")
    except MachineError as error:  # a copy that fails ends no run
        console.warn(f"checkpoint.sync_to={config.sync_to}: {error}")
        return
    if theirs and not (run_dir / EVENTS).is_file():
        raise ConfigError(
            f"checkpoint.sync_to={config.sync_to} has a run named {run_dir.name}, and {run_dir} is new: bring that one "
            f"back first (megatron-recipe sync {run_dir} --from {config.sync_to}), or take another --run-dir"
        )
    require_same_run(run_dir, theirs, config.sync_to)


@dataclass(frozen=True)
class Copied:
    """A copy that came to its end; `problem` says why it is not there, None where it is."""

    step: int
    seconds: float
    problem: str | None


@dataclass
class BackgroundSync:
    """Copies of one run, one at a time; used by the first rank alone."""

    run_dir: Path
    config: CheckpointConfig
    waiting_step: int | None = None
    step: int = -1
    began: float = 0.0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def offer(self, step: int) -> None:
        """There is a checkpoint of this step: copy the run now, or when the copy under way is done."""
        self.waiting_step = step
        self._begin()

    def poll(self) -> Copied | None:
        """What has come to its end since the last call, without waiting."""
        if self.process is None or self.process.poll() is None:
            return None
        code, self.process = self.process.returncode, None
        copied = Copied(self.step, time.monotonic() - self.began, self._problem(code) if code else None)
        self._begin()
        return copied

    def wait(self) -> list[Copied]:
        """Wait for all copies that are under way or wait; what became of them."""
        copies = []
        while self.process is not None:
            if (copied := self.poll()) is not None:
                copies.append(copied)
            else:
                time.sleep(POLL_SECONDS)
        return copies

    def _begin(self) -> None:
        if self.process is not None or self.waiting_step is None:
            return
        self.step, self.waiting_step, self.began = self.waiting_step, None, time.monotonic()
        nice = ["nice", "-n", "10"] if shutil.which("nice") else []
        command = [*nice, sys.executable, "-P", "-m", "megatron_recipe.cli", "sync", str(self.run_dir)]
        options = ["--to", self.config.sync_to, "--keep", str(self.config.sync_keep)]
        with (self.run_dir / LOG).open("wb") as log:
            # a session of its own: Ctrl-C ends training, and the copy of what was saved goes on
            self.process = subprocess.Popen(
                [*command, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _problem(self, code: int) -> str:
        lines = (self.run_dir / LOG).read_bytes()[-LAST_BYTES:].decode(errors="replace").splitlines()
        return lines[-1].removeprefix("error: ") if lines else f"it ended with code {code}"
