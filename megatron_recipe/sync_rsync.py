"""A store by rsync: another host over ssh, or another disk of this one."""

import os
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from megatron_recipe.errors import ConfigError
from megatron_recipe.sync_store import call, call_long

PARTLY = 23
"""rsync's code where some files were not there (among other reasons)."""
PARTIAL = ".rsync-partial"
"""A folder in the destination that keeps what of a file has arrived when the connection breaks."""
PORTS = range(1, 65536)
ANSWERS_WITHIN = 15
"""Seconds; by itself ssh tries for two minutes, and a start of training with it."""


class RsyncStore:
    """`place` is user@host:path or a folder. A file appears under its name when it is whole.

    ssh is as the user has configured it, but gives up a host that does not answer; `RSYNC_RSH` is taken as it is. With
    a port or options of its own it never asks.
    """

    program = "rsync"

    def __init__(self, place: str, ssh_port: int | None = None, ssh_options: Sequence[str] = ()) -> None:
        if ssh_port is not None and ssh_port not in PORTS:
            raise ConfigError(f"--ssh-port {ssh_port}: a number from 1 to 65535")
        self.name = place
        options = [*(["-p", str(ssh_port)] if ssh_port else []), *ssh_options]
        self.shell = _shell([*options, "-o", "BatchMode=yes"] if options else [])

    def _at(self, sub: str) -> str:
        return f"{self.name.rstrip('/')}/{sub}" if not self.name.endswith(":") else self.name + sub

    def _command(self, *options: str) -> list[str]:
        return ["rsync", "--recursive", "--copy-links", "--timeout=60", *self.shell, *options]

    def put(self, root: Path, sub: str, leave_out: Sequence[str] = (), *, distrust: bool = False) -> None:
        """`--relative` makes the folders up to `sub`, which older versions of rsync have no option for."""
        how = ["--times", f"--partial-dir={PARTIAL}", "--info=progress2", *(["--checksum"] if distrust else [])]
        call_long([*self._command("--relative", *how, *_excluded(leave_out)), f"{root}/./{sub}", self._at("")])

    def get(self, sub: str, root: Path, leave_out: Sequence[str] = (), *, distrust: bool = False) -> None:
        """Copy `sub` to `root/sub`."""
        (root / sub).mkdir(parents=True, exist_ok=True)
        how = ["--times", f"--partial-dir={PARTIAL}", "--info=progress2", *(["--checksum"] if distrust else [])]
        call_long([*self._command(*how, *_excluded(leave_out)), f"{self._at(sub)}/", f"{root / sub}/"])

    def differences(self, root: Path, sub: str, leave_out: Sequence[str] = ()) -> list[str]:
        """What a copy by checksums would still send."""
        command = self._command("--relative", "--checksum", "--dry-run", "--out-format=%n", *_excluded(leave_out))
        done = call([*command, f"{root}/./{sub}", self._at("")])
        return [line for line in done.stdout.decode().splitlines() if line and not line.endswith("/")]

    def read(self, path: str) -> bytes | None:
        """Through a temporary file."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "file"
            if not self._asked(self._command(self._at(path), str(copy))):
                return None
            return copy.read_bytes()

    def files(self, sub: str) -> list[str]:
        """Of `rsync --list-only`: permissions, size, date, time, name."""
        listing = self._asked(self._command("--list-only", f"--exclude={PARTIAL}/", f"{self._at(sub)}/"))
        rows = [line.split(maxsplit=4) for line in (listing or b"").decode().splitlines()]
        return [row[4] for row in rows if len(row) == 5 and row[0].startswith("-")]

    def remove(self, sub: str) -> None:
        """By a copy of an empty folder that deletes what only the other side has, but for one name."""
        parent, _, name = sub.rpartition("/")
        only = [f"--include=/{name}", f"--include=/{name}/***", "--exclude=*"]
        with tempfile.TemporaryDirectory() as empty:
            self._asked(self._command("--delete", *only, f"{empty}/", f"{self._at(parent)}/"))

    @staticmethod
    def _asked(command: list[str]) -> bytes | None:
        """Standard output; None where what was asked for is not there."""
        done = call(command, fine=(0, PARTLY))
        if done.returncode == PARTLY:
            if b"No such file" not in done.stderr and b"does not exist" not in done.stderr:
                call(command)  # says what else it was
            return None
        return done.stdout or b"\n"


def _excluded(names: Sequence[str]) -> list[str]:
    return [f"--exclude={name}" for name in (f"{PARTIAL}/", *names)]


def _shell(options: list[str]) -> list[str]:
    """rsync's option for the ssh that it calls."""
    if not options and "RSYNC_RSH" in os.environ:
        return []
    return ["-e", shlex.join(["ssh", *options, "-o", f"ConnectTimeout={ANSWERS_WITHIN}"])]
