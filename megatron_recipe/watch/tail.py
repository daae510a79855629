"""Follow a file of JSON lines that another process writes, reading only what is new."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHUNK_BYTES = 2**20


class Tail:
    """The end of a growing file.

    A run that starts again writes its files anew (`loggers.records.keep_records`): then all of it is new again. A line
    that is not whole yet is left for the next look; a damaged one is passed over, since a dashboard that stops because
    of it would hide the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inode, self.offset = 0, 0

    def look(self) -> tuple[bool, Iterator[dict[str, Any]]]:
        """Whether the file was begun anew since the last look, and the whole records that are new, read as they are
        asked for: the first look at the file of a month's run would not fit in memory well.
        """
        try:
            facts = self.path.stat()
        except OSError:  # not written yet, or a network disk that hesitates
            return False, iter(())
        anew = self.inode not in (0, facts.st_ino) or facts.st_size < self.offset
        if anew:
            self.offset = 0
        self.inode = facts.st_ino
        return anew, self._read()

    def _read(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                rest = b""
                while chunk := file.read(CHUNK_BYTES):
                    *lines, rest = (rest + chunk).split(b"\n")
                    self.offset += sum(len(line) + 1 for line in lines)
                    for line in lines:
                        if (record := _record(line)) is not None:
                            yield record
        except OSError:
            return


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
