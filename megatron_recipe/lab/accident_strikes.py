"""Accidents that strike a run from outside: its node is killed, and what it had saved may be lost with it."""

import json
import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field

from megatron_recipe.config import Config
from megatron_recipe.lab.incident_changes import Change


class NodeKilled(Change):
    """The run is killed without a warning, once; then it is begun again by the same command."""

    kind: Literal["node_killed"] = "node_killed"
    """Which kind, in the file."""
    after: float = Field(default=0.6, gt=0, lt=1)
    """Share of the run's steps that it has done by then."""
    checkpoints: Literal["kept", "newest_damaged", "all_lost"] = "kept"
    """What becomes of its checkpoints before it is begun again."""

    def strikes(self, config: Config, folder: Path) -> bool:
        """Once, as soon as the steps are recorded."""
        from megatron_recipe.lab.incident_strikes import STRIKES  # it knows every kind of change, so this one too

        if (folder / STRIKES).is_file():
            return False
        return _last_step(folder) >= self.after * config.train.steps

    def aftermath(self, config: Config, folder: Path) -> None:
        """Damage the newest checkpoint, or delete all of them."""
        saved = sorted((folder / "checkpoints").glob("step_*"))
        if self.checkpoints == "all_lost":
            for checkpoint in saved:
                shutil.rmtree(checkpoint)
        elif self.checkpoints == "newest_damaged" and saved:
            largest = max(
                (path for path in saved[-1].iterdir() if path.is_file()), key=lambda path: path.stat().st_size
            )
            with largest.open("r+b") as file:
                file.truncate(largest.stat().st_size // 2)


def _last_step(folder: Path) -> int:
    """The last step that was recorded; 0 without one."""
    try:
        lines = (folder / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
        return int(json.loads(lines[-1])["step"]) if lines else 0
    except (OSError, ValueError, KeyError):
        return 0
