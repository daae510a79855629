"""Measuring processes: started in a group of their own, held to a time limit, asked for their last line of JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from megatron_recipe.parent_death import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
LOOK_EVERY_SECONDS = 0.2
SAID_LINES = 30


class Failed(Exception):
    """A measurement that came to nothing, with the reason in a line, and the end of what the process said."""

    def __init__(self, why: str, log: Path | None = None) -> None:
        super().__init__(why)
        self.said = lines_of(log)[-SAID_LINES:] if log else []


def run(arguments: Sequence[str], log: Path, seconds: float, is_done: Callable[[], bool] | None = None) -> None:
    """Run `python ARGUMENTS` in the repository until it ends, or until `is_done()`, which kills it and its children.

    log: where its output goes. Raises Failed where it ends with an error, or is not done after `seconds`.
    """
    end = time.monotonic() + seconds
    with log.open("wb") as output:
        # by -m from the root, so that the package needs no installation
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            while process.poll() is None and not (is_done and is_done()):
                if time.monotonic() > end:
                    raise Failed(f"not done after {seconds:.0f} s", log)
                time.sleep(LOOK_EVERY_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if is_done and is_done():
        return
    if process.returncode:
        raise Failed(reason(log), log)
    if is_done:
        raise Failed(f"ended before it was measured: {reason(log)}", log)


def last_json(arguments: Sequence[str], log: Path, seconds: float) -> dict[str, Any]:
    """What the process says last. Raises Failed."""
    run(arguments, log, seconds)
    try:
        report: dict[str, Any] = json.loads(lines_of(log)[-1])
    except (json.JSONDecodeError, IndexError):
        raise Failed(f"no report: {reason(log)}", log) from None
    return report


def reason(log: Path) -> str:
    """The line that says most: of memory that is short, else the last one."""
    lines = lines_of(log) or ["nothing said"]
    said = next((line for line in lines if "out of memory" in line.lower()), lines[-1])
    return said.strip()[:300]


def lines_of(log: Path) -> list[str]:
    """The lines with something in them."""
    return [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
