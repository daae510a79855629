"""One download a folder at a time: two would write into the same partial files."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megatron_recipe.errors import DataError

NAME = ".download.lock"


@contextmanager
def only_download(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; a kill lets it go.

    Raises:
        DataError: another process is downloading into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise DataError(
                f"{folder}: another download (process {holder}) is writing here; wait for it or give another --out"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
