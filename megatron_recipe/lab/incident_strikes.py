"""A run that is struck from outside: killed when a change says so, and begun again, as a scheduler would."""

import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe.config import Config
from megatron_recipe.files import write_json
from megatron_recipe.lab.incident import AnyChange
from megatron_recipe.lab.starters import Process

STRIKES = "strikes.json"
"""In the run folder: how often it was struck, and whether what follows was done."""


@dataclass
class Struck:
    """A run's process that lives through what is done to it; whoever polls it sees one process."""

    begin: Callable[[], Process]
    changes: Sequence[AnyChange]
    config: Config
    folder: Path

    def __post_init__(self) -> None:
        self.is_asked_to_stop = False
        self._follow()
        self.process = self.begin()

    def poll(self) -> int | None:
        """Exit code of the last process; None while one lives, or is to be begun."""
        code = self.process.poll()
        if code is None:
            self._strike()
            return None
        if not self._follow() or self.is_asked_to_stop:
            return code
        self.process = self.begin()
        return None

    def send_signal(self, sig: int) -> None:
        """Send the process a signal; after it none is begun again."""
        self.is_asked_to_stop = True
        self.process.send_signal(sig)

    def _strike(self) -> None:
        if self.is_asked_to_stop or _noted(self.folder).get("follows"):
            return
        for number, change in enumerate(self.changes):
            if change.strikes(self.config, self.folder):
                count = _noted(self.folder).get("count", 0) + 1
                write_json(self.folder / STRIKES, {"count": count, "by": number, "follows": True})
                self.process.send_signal(signal.SIGKILL)
                return

    def _follow(self) -> bool:
        """Do what follows a strike, if it was not done; returns whether there was something."""
        noted = _noted(self.folder)
        if not noted.get("follows"):
            return False
        self.changes[noted["by"]].aftermath(self.config, self.folder)
        write_json(self.folder / STRIKES, {**noted, "follows": False})
        return True


def _noted(folder: Path) -> dict[str, int]:
    path = folder / STRIKES
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
