"""Runs planned runs, some at a time; what is finished stays, what is not goes on, what fails does not stop the rest."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.lab.run_states import Outcome, note_end, note_start, outcome_of
from megatron_recipe.lab.starters import LOG, Process, Starter
from megatron_recipe.preemption import heeded_signals

POLL_SECONDS = 0.1


class Runnable(Protocol):
    """What can be run: its configuration and its folder."""

    @property
    def config(self) -> Config:
        """What the trainer gets."""
        ...

    @property
    def folder(self) -> Path:
        """Its run folder."""
        ...


@dataclass
class Started[Kind: Runnable]:
    """A run that goes on."""

    run: Kind
    process: Process
    slot: int
    since: float


class StopRequest:
    """Ctrl-C or a scheduler's signal: asks the runs to save and stop; the second Ctrl-C ends them at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.interrupts = 0
        self.passed_on: signal.Signals | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        self.signal = self.signal or signal.Signals(number)
        self.interrupts += number == signal.SIGINT

    def pass_on(self, processes: Sequence[Process]) -> None:
        """Tell the runs once of each request."""
        wanted = signal.SIGKILL if self.interrupts > 1 else signal.SIGTERM
        if self.signal is None or self.passed_on is wanted:
            return
        if self.passed_on is None:
            console.say(f"{self.signal.name}: {len(processes)} runs save and stop (Ctrl-C again: at once)")
        self.passed_on = wanted
        for process in processes:
            process.send_signal(wanted)


def run_all[Kind: Runnable](
    runs: Sequence[Kind],
    start: Starter,
    at_once: int,
    ended: Callable[[Kind, Outcome, float], None],
    look: Callable[[Sequence[Kind]], None] = lambda running: None,
) -> signal.Signals | None:
    """Run all that are not finished, `at_once` at a time, in their order; each in a slot from 0 to `at_once` - 1.

    Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP ask those that run to save a checkpoint, and no other is begun. What failed or
    was stopped before is begun again, from its newest checkpoint where it has one.

    Args:
        ended: called after each run that ended, with how, and the seconds its process lived.
        look: called now and then with what runs.

    Returns:
        The signal that stopped it; None where all runs were gone through.
    """
    waiting = [run for run in runs if outcome_of(run.folder).state != "finished"]
    stop = StopRequest()
    before = {number: signal.signal(number, stop.receive) for number in heeded_signals()}
    running: list[Started[Kind]] = []
    try:
        while running or (waiting and not stop.signal):
            free = sorted(set(range(at_once)) - {one.slot for one in running})
            while waiting and free and not stop.signal:
                run, slot = waiting.pop(0), free.pop(0)
                note_start(run.folder)
                running.append(Started(run, start(run.config, run.folder, slot), slot, time.monotonic()))
            time.sleep(POLL_SECONDS)
            stop.pass_on([one.process for one in running])
            look([one.run for one in running])
            for one in list(running):
                code = one.process.poll()
                if code is not None:
                    running.remove(one)
                    outcome = note_end(one.run.folder, code, one.run.folder / LOG, by_us=stop.signal is not None)
                    ended(one.run, outcome, time.monotonic() - one.since)
    finally:
        for one in running:
            one.process.send_signal(signal.SIGKILL)
        for number, handler in before.items():
            signal.signal(number, handler)
    return stop.signal
