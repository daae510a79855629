"""Why a save failed: what the system said to the forked process that writes, and what helps against it.

Megatron's exception of an error in writing names its type alone. The reason is known only in the process that writes:
where an item is written, since torch raises an error of its own over the system's, and for opening, flushing and
closing the file in a line of Megatron's log.
"""

import errno
import logging
import mmap
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from megatron.core.dist_checkpointing.strategies import filesystem_async

from megatron_recipe.errors import in_short
from megatron_recipe.files import disk_full

REASON_BYTES = 1024
REMEDIES = {
    errno.EFBIG: "files of this size are not allowed: begin after `ulimit -f unlimited`, or name another --run-dir",
    errno.EDQUOT: "your quota there is used up: delete files of yours, ask for more, or name another --run-dir",
    errno.EIO: "the disk or the network to it fails: look at it (dmesg), or name another --run-dir",
    errno.EROFS: "the disk can no longer be written to: look at it (dmesg), or name another --run-dir",
}
ANY_REMEDY = "see whether a file can be written there (df, quota, dmesg), or name another --run-dir"


class WriterReason(logging.Handler):
    """The first reason for which the forked process failed, in memory that it shares with the one that trains."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._shared = mmap.mmap(-1, REASON_BYTES)

    def read(self) -> str:
        """The reason; "" where there is none."""
        return self._shared[:].rstrip(b"\0").decode(errors="ignore")

    def clear(self) -> None:
        """Forget what an earlier save left."""
        self._shared[:] = bytes(REASON_BYTES)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """In the forked process, which ends after it: keep the reason of what the block raises or Megatron hides."""
        logging.getLogger(filesystem_async.__name__).addHandler(self)
        filesystem_async._write_item = self._noting(filesystem_async._write_item)
        try:
            yield
        except Exception as error:
            self._note(in_short(_of_the_system(error)))
            raise

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the reason in a line of the log: "Local worker 0 encountered an error: REASON"."""
        message = record.getMessage()
        self._note(message.partition("encountered an error: ")[2] or message)

    def _noting(self, write_item: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(write_item)  # with its signature, at which Megatron looks
        def noting(*args: Any, **kwargs: Any) -> Any:
            try:
                return write_item(*args, **kwargs)
            except Exception as error:
                self._note(in_short(_of_the_system(error)))
                raise

        return noting

    def _note(self, reason: str) -> None:
        if not self.read():
            self._shared[:] = " ".join(reason.split()).encode()[:REASON_BYTES].ljust(REASON_BYTES, b"\0")


def _of_the_system(error: BaseException) -> BaseException:
    """The system's error below one that was raised over it; the error itself where there is none."""
    below: BaseException | None = error
    while below is not None and not isinstance(below, OSError):
        below = below.__cause__ or below.__context__
    return below or error


def problem_of(folder: Path, needed_bytes: int, reason: str, error: BaseException) -> str:
    """What is said of a save into `folder` that failed.

    Args:
        reason: what a process that writes was told; "" where that is not known.
        error: what Megatron raised; its last line stands for a reason that is not known.
    """
    lines = str(error).strip().splitlines()
    reason = (reason or (lines[-1] if lines else type(error).__name__))[:300]
    found = re.search(r"\[Errno (\d+)\]", reason)
    number = int(found[1]) if found else None
    if number == errno.ENOSPC or (number is None and shutil.disk_usage(folder.parent).free < needed_bytes):
        return str(disk_full(folder, needed_bytes))
    return f"{folder}: could not be written ({reason}); {REMEDIES.get(number or 0, ANY_REMEDY)}"
