"""How far a run has come, read from its folder, so that whoever looks sees the same."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megatron_recipe.files import json_if_whole, read_jsonl, write_json

State = Literal["finished", "failed", "stopped", "not run"]
OUTCOME = "outcome.json"
"""How the last process of a run ended, as its starter saw it: a process that is killed writes nothing itself."""
KILLED = "its process ended without a word: killed"


@dataclass(frozen=True)
class Outcome:
    """A run's state, and the reason where it is no good one."""

    state: State
    reason: str | None = None


def outcome_of(folder: Path) -> Outcome:
    """The state of the run in `folder`: by its own events, and for a process that failed early by its starter's word.

    `finished`: it came to its last step. `failed`: a mistake or an accident of training ended it. `stopped`: a signal
    or a time limit did, or it was killed; it can be continued. `not run`: it never began.
    """
    events = folder / "events.jsonl"
    said = [event for event in read_jsonl(events) if event["event"] in TOLD] if events.is_file() else []
    last = said[-1]["event"] if said else None
    if last == "end":
        return Outcome("finished")
    noted = json_if_whole(folder / OUTCOME)
    if "state" in noted:
        return Outcome(noted["state"], noted.get("reason"))
    if last == "failed":
        return Outcome("failed", said[-1]["error"])
    if last == "stopped":
        return Outcome("stopped", said[-1]["reason"])
    return Outcome("stopped", KILLED) if last else Outcome("not run")


TOLD = ("start", "resume", "end", "stopped", "failed")


def note_start(folder: Path) -> None:
    """A process begins to work on the run: what is known of the one before it no longer holds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OUTCOME).unlink(missing_ok=True)


def note_end(folder: Path, exit_code: int, log: Path, *, by_us: bool = False) -> Outcome:
    """A process of the run ended; returns the run's state, which is written down.

    Args:
        exit_code: negative is the signal that ended it.
        log: what it said.
        by_us: it was asked to stop.
    """
    outcome = outcome_of(folder)
    if outcome.state != "finished" and by_us:
        outcome = Outcome("stopped", outcome.reason)
    elif outcome.state != "finished" and exit_code > 0:
        outcome = Outcome("failed", _last_word(log) or outcome.reason or f"exit code {exit_code}")
    elif outcome.state != "finished" and exit_code < 0:
        short = ": mostly the machine's memory was short; run fewer at a time (--jobs), or on a larger machine"
        outcome = Outcome("failed", f"killed by signal {-exit_code}{short if exit_code == -signal.SIGKILL else ''}")
    write_json(folder / OUTCOME, {"state": outcome.state, "reason": outcome.reason})
    return outcome


def _last_word(log: Path) -> str | None:
    """The mistake that a process said last, or the last line of its traceback."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    before, found, message = text.rpartition("error: ")
    if found and (not before or before.endswith("\n")):
        return message.strip()
    lines = text.strip().splitlines()
    return lines[-1] if lines else None
