"""A store by rclone: object storage, and whatever else it knows (https://rclone.org/overview/)."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from megatron_recipe.sync_store import call, call_long

# its own codes: https://rclone.org/docs/#exit-code
DIFFERENT, NO_FOLDER, NO_FILE = 1, 3, 4
PATIENT = ("--retries=3", "--low-level-retries=10", "--timeout=60s", "--contimeout=15s")
SHOWN = ("--stats=5s", "--stats-one-line", "--stats-log-level=NOTICE")


class RcloneStore:
    """`place` is remote:path. A half file never keeps its size and time, so the next copy replaces it."""

    program = "rclone"

    def __init__(self, place: str) -> None:
        self.name = place

    def _at(self, sub: str) -> str:
        if not sub:
            return self.name
        return self.name + sub if self.name.endswith((":", "/")) else f"{self.name}/{sub}"

    @cached_property
    def _reads_back(self) -> bool:
        """Whether the storage has no checksums of its own, so that a check has to read the copy."""
        features = json.loads(call(["rclone", "backend", "features", self.name]).stdout)
        return not features.get("Hashes")

    def put(self, root: Path, sub: str, leave_out: Sequence[str] = (), *, distrust: bool = False) -> None:
        """Copy `root/sub` there."""
        call_long(["rclone", "copy", *_options(leave_out, distrust), str(root / sub), self._at(sub)])

    def get(self, sub: str, root: Path, leave_out: Sequence[str] = (), *, distrust: bool = False) -> None:
        """Copy `sub` to `root/sub`."""
        call_long(["rclone", "copy", *_options(leave_out, distrust), self._at(sub), str(root / sub)])

    def differences(self, root: Path, sub: str, leave_out: Sequence[str] = ()) -> list[str]:
        """By the storage's checksums; where it has none, by reading the copy back."""
        command = ["rclone", "check", "--one-way", "--copy-links", "--combined=-", *_excluded(leave_out), *PATIENT]
        command += ["--download"] if self._reads_back else []
        done = call([*command, str(root / sub), self._at(sub)], fine=(0, DIFFERENT))
        lines = done.stdout.decode().splitlines()
        found = [line[2:] for line in lines if not line.startswith("= ")]
        return found or (["(rclone check)"] if done.returncode else [])

    def read(self, path: str) -> bytes | None:
        """Empty where object storage has no such object."""
        done = call(["rclone", "cat", *PATIENT, self._at(path)], fine=(0, NO_FOLDER, NO_FILE))
        return done.stdout or None

    def files(self, sub: str) -> list[str]:
        """Below `sub`."""
        command = ["rclone", "lsf", "--recursive", "--files-only", *PATIENT, self._at(sub)]
        done = call(command, fine=(0, NO_FOLDER))
        return done.stdout.decode().splitlines() if done.returncode == 0 else []

    def remove(self, sub: str) -> None:
        """A file has a name with a dot, a folder of ours has none."""
        verb = "deletefile" if "." in sub.rpartition("/")[2] else "purge"
        call(["rclone", verb, *PATIENT, self._at(sub)], fine=(0, NO_FOLDER, NO_FILE))


def _options(leave_out: Sequence[str], distrust: bool) -> list[str]:
    return ["--copy-links", *(["--ignore-times"] if distrust else []), *_excluded(leave_out), *PATIENT, *SHOWN]


def _excluded(names: Sequence[str]) -> list[str]:
    return [f"--exclude={name}" for name in names]
