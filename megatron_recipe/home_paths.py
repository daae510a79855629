"""`~` in paths where no shell has replaced it: behind a `=` of an argument, and in files."""

import os
import re
from collections.abc import Sequence

AT_HOME = re.compile(r"(?<==)~(?=/|$)")


def at_home(path: str) -> str:
    """The path with the user's own folder for a `~` at its beginning; as it is where there is none."""
    # that of Path fails where nobody has a home
    return os.path.expanduser(path)  # noqa: PTH111


def with_home(words: Sequence[str]) -> list[str]:
    """Arguments like `--run-dir=~/runs/x` and `data.datasets=~/x` with the user's own folder for `~`."""
    home = at_home("~")
    return [AT_HOME.sub(lambda _: home, word) for word in words]
