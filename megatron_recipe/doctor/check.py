"""One row of the doctor's table, and how checks ask the machine without waiting long."""

import importlib.metadata
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "fail"]

COMMAND_SECONDS = 4.0


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, what was found, and what to do about it (empty where all is well)."""

    name: str
    status: Status
    found: str
    fix: str = ""


def judge(name: str, found: str, *, fail_if: bool = False, warn_if: bool = False, fix: str = "") -> Check:
    """A Check whose fix shows only where there is something to fix."""
    status: Status = "fail" if fail_if else "warn" if warn_if else "ok"
    return Check(name, status, found, fix if status != "ok" else "")


def version_of(distribution: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def answer_of(*command: str) -> str:
    """What a command prints; "" where there is no such command, it fails, or it does not answer soon."""
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def cgroup_value(*files: str) -> str:
    """First line of the first of these files below /sys/fs/cgroup that exists; "" without one or without a limit."""
    for file in files:
        path = Path("/sys/fs/cgroup") / file
        if path.is_file():
            text = path.read_text(encoding="utf-8").strip()
            return "" if text.startswith(("max", "-1")) else text
    return ""


def runs_folder() -> Path:
    """Where runs will be written: runs/, or the folder at hand as long as it is not there."""
    runs = Path.cwd() / "runs"
    return runs if runs.is_dir() else Path.cwd()
