"""Jobs on the GPUs of one machine: each takes a part of a card, a whole one, or all; what is free is used."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.child import ROOT
from megatron_recipe.files import write_json
from megatron_recipe.parent_death import die_with_parent

LOOK_EVERY_SECONDS = 0.2
GRACE_SECONDS = 20


@dataclass(frozen=True)
class Job:
    """A command and what it needs."""

    name: str
    command: tuple[str, ...]
    takes: Literal["part", "card", "all"]
    """A part where time plays no role, the whole card where it is measured."""
    seconds: float
    """Its limit."""
    after: tuple[str, ...] = ()
    """Jobs that must have ended well before it; where one will not, it is left."""


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    cards: tuple[str, ...]
    began: float
    was_told: bool = False
    """Whether it was asked to end."""

    def over(self, end: float) -> float:
        """Seconds that it is over its time."""
        return time.monotonic() - min(self.began + self.job.seconds, end)


@dataclass
class JobQueue:
    """Runs jobs in the order given; a job that finds no room is overtaken, except by those that would keep it waiting.

    out: a folder; a job's words go to NAME.log, how it ended to NAME.json. A job that ended well is not run again.
    """

    out: Path
    cards: Sequence[str]
    """As CUDA_VISIBLE_DEVICES names them."""
    end: float
    """`time.monotonic()` after which none is begun and all are ended."""
    parts: int
    """Jobs that share a card at most: the start of one, half a minute without arithmetic, beside the work of others."""
    running: list[_Running] = field(default_factory=list)

    def run(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        """Returns how each ended: {"code": …, "seconds": …}; nothing of those that were not begun."""
        self.out.mkdir(parents=True, exist_ok=True)
        left = [job for job in jobs if not self._is_done(job.name)]
        try:
            while self.running or (left and time.monotonic() < self.end):
                self._look()
                coming = {job.name for job in left} | {one.job.name for one in self.running}
                left = [job for job in left if all(name in coming or self._is_done(name) for name in job.after)]
                if time.monotonic() < self.end and (job := self._next(left)):
                    left.remove(job)
                    self._start(job)
                time.sleep(LOOK_EVERY_SECONDS)
        finally:
            for one in self.running:
                os.killpg(one.process.pid, signal.SIGKILL)
        return {job.name: ended for job in jobs if (ended := self._ended(job.name))}

    def _next(self, left: Sequence[Job]) -> Job | None:
        """The first one that can begin now."""
        for job in left:
            if not all(self._is_done(name) for name in job.after):
                continue
            if self._room(job):
                return job
            if job.takes == "all":  # what comes behind it would keep the cards busy for ever
                return None
        return None

    def _room(self, job: Job) -> tuple[str, ...]:
        """The cards that it may have, the emptiest first; none where it has to wait."""
        used = {card: sum(self._weight(one.job) for one in self.running if card in one.cards) for card in self.cards}
        if job.takes == "all":
            return tuple(self.cards) if not any(used.values()) else ()
        card = min(self.cards, key=lambda card: used[card])
        return (card,) if used[card] + self._weight(job) <= self.parts else ()

    def _weight(self, job: Job) -> int:
        return 1 if job.takes == "part" else self.parts

    def _start(self, job: Job) -> None:
        cards = self._room(job)
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(cards)}
        with (self.out / f"{job.name}.log").open("ab") as log:
            process = subprocess.Popen(
                job.command,
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        print(f"{job.name}: begun on {', '.join(cards)}", flush=True)
        self.running.append(_Running(job, process, cards, time.monotonic()))

    def _look(self) -> None:
        """Take up what ended, end what is over its time."""
        for one in list(self.running):
            if one.process.poll() is None:
                if one.over(self.end) > GRACE_SECONDS:
                    os.killpg(one.process.pid, signal.SIGKILL)
                elif one.over(self.end) > 0 and not one.was_told:
                    os.killpg(one.process.pid, signal.SIGTERM)  # a trainer saves, and can go on another time
                    one.was_told = True
                continue
            self.running.remove(one)
            seconds = time.monotonic() - one.began
            code = one.process.returncode or (-signal.SIGTERM if one.was_told else 0)
            ended = {"code": code, "seconds": round(seconds, 1), "command": one.job.command}
            write_json(self.out / f"{one.job.name}.json", ended)
            print(f"{one.job.name}: {'done' if code == 0 else f'ended with {code}'} after {seconds:.0f} s", flush=True)

    def _ended(self, name: str) -> dict[str, Any] | None:
        path = self.out / f"{name}.json"
        ended: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        return ended

    def _is_done(self, name: str) -> bool:
        ended = self._ended(name)
        return ended is not None and ended["code"] == 0
