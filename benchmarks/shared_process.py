"""Measurements that share a process, since starting one takes half a minute, and that cost a new one where it breaks.

The process is told a file and the names that are left, and appends a line of JSON to the file for each when it is done.
It may end before the last name: with code 0 after a row, or with any after one that says an error. A new process takes
up what is left. One that ends otherwise costs the name that it was at. Where process after process fails alike, the
rest is left out.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.child import ROOT
from megatron_recipe.errors import RecipeError
from megatron_recipe.files import write_json
from megatron_recipe.parent_death import die_with_parent

Row = dict[str, Any]
Command = Callable[[Path, list[str]], list[str]]
"""From the file and the names that are left to what is run."""
LOOK_EVERY_SECONDS, GRACE_SECONDS = 0.2, 10.0
ALIKE = 3
"""New processes in a row that end with the same error, each at its first row: it is not the row's, and starts cost."""


@dataclass
class SharedProcess:
    """Rows of named measurements, one after the other; `out` holds all of them after each."""

    out: Path
    seconds: float
    """For all."""
    each_seconds: float
    """For one, its share of the start included."""
    told: Callable[[Row], str]
    """A row in a line."""
    log: IO[bytes] | None = None
    """What the process says; None is standard error."""
    key: str = "variant"
    """What a row calls its name."""
    rows: list[Row] = field(default_factory=list)
    end: float = field(init=False)

    def __post_init__(self) -> None:
        self.end = time.monotonic() + self.seconds
        self.out.parent.mkdir(parents=True, exist_ok=True)

    def measure_or_say(self, names: list[str], command: Command) -> int:
        """`measure`; returns the exit code, 0 where it came to its end, and says what ended it else."""
        try:
            self.measure(names, command)
        except KeyboardInterrupt:
            print(f"stopped; {self.out} has what was measured", file=sys.stderr)
            return 130
        except RecipeError as error:  # a full disk
            print(error, file=sys.stderr)
            return 2
        return 0

    def measure(self, names: list[str], command: Command) -> list[Row]:
        """A row for each name; {"error": …} where there is nothing else to say."""
        begun, lines = len(self.rows), self.out.with_suffix(".lines")
        alike, error = 0, None
        lines.unlink(missing_ok=True)
        while (left := names[len(self.rows) - begun :]) and time.monotonic() < self.end:
            before = len(self.rows)
            reason = self._run(command(lines, left), lines, len(left))
            if reason:
                self._keep({self.key: names[len(self.rows) - begun], "error": reason})
            failed_alone = len(self.rows) == before + 1 and "error" in self.rows[-1]
            alike = alike + 1 if failed_alone and self.rows[-1]["error"] == error else int(failed_alone)
            error = self.rows[-1].get("error")
            if alike == ALIKE:
                break
        why = f"left out: {ALIKE} before it failed alike" if alike == ALIKE else f"not begun after {self.seconds:.0f} s"
        for name in names[len(self.rows) - begun :]:
            self._keep({self.key: name, "error": why})
        return self.rows[begun:]

    def _run(self, command: list[str], lines: Path, wanted: int) -> str | None:
        """Take up what a process writes until it ends. Returns why it left out the one that it was at, if it did."""
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=self.log or sys.stderr,
            stderr=self.log,
            start_new_session=True,
            preexec_fn=die_with_parent,  # also by a kill: what lives on would keep the card
        )
        before = len(self.rows)
        try:
            reason = self._follow(process, lines, before, wanted)
        finally:
            code = end(process)
        lines.unlink(missing_ok=True)
        done = len(self.rows) - before
        if done == wanted or (reason is None and done and (code == 0 or "error" in self.rows[-1])):
            return None
        return reason or f"its process ended with code {code}"

    def _follow(self, process: subprocess.Popen[bytes], lines: Path, before: int, wanted: int) -> str | None:
        """Take up rows until all are there or the process has ended. Returns why it has to end, if it does."""
        last = time.monotonic()
        while len(self.rows) < before + wanted:
            ended = process.poll() is not None
            for row in read_lines(lines)[len(self.rows) - before :]:
                self._keep(row)
                last = time.monotonic()
            if ended:
                break
            if time.monotonic() > min(last + self.each_seconds, self.end):
                return f"not done after {time.monotonic() - last:.0f} s"
            time.sleep(LOOK_EVERY_SECONDS)
        return None

    def _keep(self, row: Row) -> None:
        """Add a row, write all of them, say it."""
        self.rows.append(row)
        write_json(self.out, self.rows)
        print(self.told(row), flush=True)


def end(process: subprocess.Popen[bytes]) -> int:
    """End a process that leads a group of its own, and what it started; returns its exit code."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)  # torchrun's processes are not of its group: it ends them
        try:
            return process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def read_lines(path: Path) -> list[Row]:
    """The whole lines of a file that is still written."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
