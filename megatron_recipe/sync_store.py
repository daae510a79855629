"""Where a run is copied to: another host or disk by rsync, object storage by rclone, behind one small interface.

A place is written as its program writes it:

    user@host:path, /path    rsync, over ssh (host alone would be taken for a remote of rclone)
    remote:bucket/path       rclone, with the remote of `rclone config` or of RCLONE_CONFIG_… variables
"""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from megatron_recipe import console
from megatron_recipe.clouds.secrets import redact
from megatron_recipe.errors import ConfigError, MachineError

SAY_EVERY_SECONDS = 10.0
LINE_END = re.compile(rb"[\r\n]|(?<=.)(?=rsync: )")
"""rsync writes why it fails behind its progress, on the same line."""
NO_REMOTE = "didn't find section in config file"
FOLLOWS = re.compile(r"^rsync error: |write error: Broken pipe|connection unexpectedly closed|NOTICE: Config file ")
"""Lines that follow from the one which names the cause."""


class Store(Protocol):
    """A tree of files somewhere else; paths are relative to its root, with slashes."""

    name: str
    """As the user wrote it."""
    program: str
    """That has to be installed."""

    def put(self, root: Path, sub: str, leave_out: Sequence[str] = (), *, distrust: bool = False) -> None:
        """Copy what lies below `root/sub` to `sub`; what is there already with size and time is left.

        leave_out: names of files, at any depth. distrust: compare by content, not by size and time.
        """

    def get(self, sub: str, root: Path, leave_out: Sequence[str] = (), *, distrust: bool = False) -> None:
        """Copy what lies at `sub` to `root/sub`. leave_out: patterns that both programs read, from `sub` on."""

    def differences(self, root: Path, sub: str, leave_out: Sequence[str] = ()) -> list[str]:
        """Files below `root/sub` that are missing there or have other content, by checksums."""

    def read(self, path: str) -> bytes | None:
        """A small file's bytes; None where it is not there."""

    def files(self, sub: str) -> list[str]:
        """Files below `sub`, relative to it; none where it is not there."""

    def remove(self, sub: str) -> None:
        """Delete a file, or a folder with all below it."""


def open_store(place: str, ssh_port: int | None = None) -> Store:
    """The store at a place, as described above. Raises ConfigError for one that is neither."""
    from megatron_recipe.sync_rclone import RcloneStore
    from megatron_recipe.sync_rsync import RsyncStore

    head, colon, _ = place.partition(":")
    if not place or place.startswith("-"):
        raise ConfigError(f"{place!r} is no place to copy to; write user@host:path, remote:path or a folder")
    if "=" in head or (not head and "=" in place):
        raise ConfigError(
            "a place holds no settings, since it stands in recipes and command lines; give them by rclone config, or "
            "in RCLONE_CONFIG_NAME_… variables, and write NAME:path"
        )
    if not colon and ("@" in place or "/" not in place) and place not in (".", ".."):
        raise ConfigError(
            f"{place} is a folder of this machine as it is written; write {place}:path for another host or a remote of "
            f"rclone, or ./{place} for a folder here"
        )
    if not colon or "/" in head or "@" in head:
        return RsyncStore(place, ssh_port)
    if ssh_port is not None:
        raise ConfigError(f"--ssh-port goes with user@host:path, and {place} is a remote of rclone")
    return RcloneStore(place)


def require_elsewhere(folder: Path, place: str) -> None:
    """Raise ConfigError where a copy of `folder` at a place of this machine would be the folder, or lie within it."""
    head, colon, _ = place.partition(":")
    if colon and "/" not in head:
        return
    there, own = Path(place).resolve() / folder.resolve().name, folder.resolve()
    if there.is_relative_to(own) or own.is_relative_to(there):
        raise ConfigError(
            f"{place}: a copy of {own} there would lie in {there}, which is no second place; name another"
        )
    if not there.parent.is_dir() and not there.parent.parent.is_dir():
        raise ConfigError(
            f"{place}: {there.parent.parent} is not there; mount that disk, or make the folder: mkdir -p {place}"
        )


def call(command: Sequence[str], *, fine: Sequence[int] = (0,)) -> subprocess.CompletedProcess[bytes]:
    """Run a short command of rclone or rsync. Raises MachineError unless its code is in `fine`."""
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise missing(command[0]) from error
    if done.returncode not in fine:
        raise failed(command[0], done.returncode, done.stderr.decode(errors="replace"))
    return done


def call_long(command: Sequence[str]) -> None:
    """Run a copy, with a line of its progress every ten seconds. Raises MachineError where it fails."""
    said, problem = time.monotonic(), ""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError as error:
        raise missing(command[0]) from error
    with process:
        assert process.stdout is not None
        rest = b""
        while chunk := os.read(process.stdout.fileno(), 65536):
            *lines, rest = LINE_END.split(rest + chunk)
            for line in (text.decode(errors="replace").strip() for text in lines):
                if not line:
                    continue
                if not is_progress(line):
                    problem = f"{problem}\n{line}"[-2000:]
                elif time.monotonic() - said >= SAY_EVERY_SECONDS:
                    said = time.monotonic()
                    console.say(f"sync: {line.partition('NOTICE:')[2].strip() or line}")
    if process.returncode:
        raise failed(command[0], process.returncode, f"{problem}\n{rest.decode(errors='replace')}")


def is_progress(line: str) -> bool:
    """Whether a line of rclone or rsync says how far it is."""
    return "%" in line and ("B/s" in line or "ETA" in line)


def missing(program: str) -> MachineError:
    """The error where rclone or rsync is not installed."""
    return MachineError(f"{program} is not installed; run: apt-get install {program}")


def failed(program: str, code: int, output: str) -> MachineError:
    """The error of a copy that failed, with the last lines of what the program said."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if NO_REMOTE in output:
        return MachineError(
            "rclone knows no such remote: `rclone listremotes` shows what there is, `rclone config` makes one; another "
            "host is written user@host:path, a folder with a slash"
        )
    causes = [line for line in lines if not FOLLOWS.search(line)] or lines
    said = redact(" / ".join(causes[-3:]), os.environ)[:600] or "nothing"
    return MachineError(
        f"{program} ended with code {code} and said: {said}; mend that, and the same command goes on from there"
    )
