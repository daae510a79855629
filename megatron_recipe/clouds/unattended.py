"""Run a launch file on a machine that nobody looks at: again after a crash, never again after a mistake.

Run on the machine: megatron-recipe launch run launch/pretrain_1b.sh --set data.datasets=…

    the run ended       the machine was shut down by budget.at_end, or is when it has been idle
    wrong input (2)     nothing is tried again; the machine stays up for whoever mends it, until it has been idle
    a crash             three attempts, each from the newest good checkpoint
    SIGTERM             passed on: the trainer saves, and this ends too
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from megatron_recipe import console
from megatron_recipe.clouds.idle import Activity, wait_until_idle
from megatron_recipe.clouds.shut_down import POD, EndsByItself, Machine, machine_here
from megatron_recipe.errors import ConfigError, RecipeError

WRONG_INPUT = 2
CRASHES = 3
RECIPE = Path(__file__).parents[2]
"""Where the launch files lie: the checkout, in an image /opt/recipe."""
LONG_RUN_SECONDS = 3600.0
"""A run that lived so long before it crashed has all its attempts again."""


@dataclass
class Unattended:
    """One launch file, to its end. `pause_seconds` before another attempt; `idle_minutes` 0 never shuts down."""

    command: Sequence[str]
    idle_minutes: float = 30.0
    pause_seconds: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    child: subprocess.Popen[bytes] | None = None
    stopped_by: int = 0

    def run(self) -> int:
        """Returns the launch file's last exit code."""
        crashes = 0
        with self._signals_are_passed_on():
            while True:
                began = time.monotonic()
                # a session of its own: what a terminal or a container sends to the group arrives once, through us
                self.child = subprocess.Popen(self.command, start_new_session=True)
                code = self.child.wait()
                if self.stopped_by or code in (0, WRONG_INPUT):
                    break
                crashes = 1 if time.monotonic() - began > LONG_RUN_SECONDS else crashes + 1
                console.warn(f"{self.command[0]} ended with code {code} (crash {crashes} of {CRASHES})")
                if crashes >= CRASHES:
                    break
                self.sleep(self.pause_seconds)
                if self.stopped_by:  # in the pause: there was no child to pass it on to
                    break
        if self.stopped_by:
            console.say("stopped; the same command continues from the newest checkpoint")
        elif code == WRONG_INPUT:
            console.warn("the input is wrong: see the line above that begins with 'error:'; it is not tried again")
        return code

    @contextmanager
    def _signals_are_passed_on(self) -> Iterator[None]:
        def pass_on(number: int, frame: FrameType | None) -> None:
            self.stopped_by = number
            if self.child is not None and self.child.poll() is None:
                self.child.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def launch_command(file: str, arguments: Sequence[str]) -> list[str]:
    """The command of a launch file, here or beside the package (as in an image). Raises ConfigError for none."""
    path = next((folder / file for folder in (Path(), RECIPE) if (folder / file).is_file()), None)
    if path is None:
        known = sorted(str(found.relative_to(RECIPE)) for found in RECIPE.glob("launch/pretrain_*.sh"))
        raise ConfigError(f"{file}: no such file; the launch files are {', '.join(known) or 'in launch/'}")
    return ["bash", str(path), *arguments]


def run_unattended(file: str, arguments: Sequence[str], idle_minutes: float, *, dry_run: bool) -> int:
    """The command `launch run`; returns the launch file's exit code."""
    command = launch_command(file, arguments)
    machine = _machine()
    if dry_run:
        ending = f"{machine.name} is shut down" if machine and idle_minutes else "nothing is shut down"
        console.say(f"would run {' '.join(command)}; after {idle_minutes:g} idle minutes {ending}")
        return 0
    work = Unattended(command, idle_minutes)
    watches = machine is not None and idle_minutes > 0 and not isinstance(machine, EndsByItself)
    if watches:
        assert machine is not None
        threading.Thread(target=shut_down_when_idle, args=(idle_minutes, machine), daemon=True).start()
    code = work.run()
    if (watches or POD in os.environ) and not work.stopped_by:
        ending = f"is shut down after {idle_minutes:g} idle minutes" if watches else "stays up"
        console.say(f"{file} ended with code {code}; the machine {ending}")
        signal.pause()  # the main process of a pod: its end would start all anew, for ever
    return code


def _machine() -> Machine | None:
    """This machine; a pod without a key cannot be shut down, and is trained on all the same."""
    try:
        return machine_here(os.environ)
    except ConfigError as error:
        console.warn(f"this machine is not shut down when it idles: {error}")
        return None


def shut_down_when_idle(minutes: float, machine: Machine) -> None:
    """Wait until this machine was idle for so long, and stop it; again where that fails."""
    while True:
        wait_until_idle(minutes, Activity().is_busy)
        try:
            machine.stop()
            return
        except RecipeError as error:
            console.warn(f"{machine.name} could not be shut down: {error}")
