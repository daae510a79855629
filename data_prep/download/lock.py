"""One download a folder at a time: two would write into the same partial files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megatron_recipe.files import held_alone

NAME = ".download.lock"


@contextmanager
def only_download(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; a kill lets it go.

    Raises:
        DataError: another process is downloading into it.
    """
    busy = f"{folder}: another download (process {{holder}}) is writing here; wait for it or give another --out"
    with held_alone(folder / NAME, busy):
        yield
