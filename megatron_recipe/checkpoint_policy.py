"""When a checkpoint is saved, and which of them are kept."""

import math
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from megatron_recipe.checkpoint import DAMAGED, complete_checkpoints, delete_checkpoint, read_marker
from megatron_recipe.config import CheckpointConfig
from megatron_recipe.errors import CheckpointError

SECONDS_PER_MINUTE = 60.0


@dataclass
class CheckpointPolicy:
    """The rules of one run; the first rank's clock decides, since no two clocks agree."""

    config: CheckpointConfig
    saved_at: float = field(default_factory=time.monotonic)
    """Monotonic time of the newest save."""
    hour_at_save: datetime = field(default_factory=datetime.now)

    def clock_is_due(self) -> bool:
        """Whether a save is due by minutes or by the hour."""
        minutes = (time.monotonic() - self.saved_at) / SECONDS_PER_MINUTE
        by_minutes = 0 < self.config.save_every_minutes <= minutes
        return by_minutes or self._hour_has_come(datetime.now())

    def due(self, step: int, *, by_clock: bool, improved: bool) -> list[str]:
        """Kinds of the checkpoints to save after `step`, mostly none.

        by_clock: what the first rank's `clock_is_due` said. improved: the validation loss is the best so far.
        """
        config = self.config
        milestone = config.milestone_every_steps > 0 and step % config.milestone_every_steps == 0
        regular = by_clock or (config.save_every_steps > 0 and step % config.save_every_steps == 0)
        kinds = ["weights"] if milestone and config.milestone_weights_only else []
        if milestone and not config.milestone_weights_only:
            return ["milestone"]
        if improved and config.keep_best:
            return ["best", *kinds]
        return ["regular", *kinds] if regular else kinds

    def _hour_has_come(self, now: datetime) -> bool:
        hour = self.config.save_at_hour
        if hour is None:
            return False
        moment = now.replace(hour=hour, minute=0, second=0, microsecond=0)
        if moment > now:
            moment -= timedelta(days=1)  # a step or a validation may last over midnight
        return self.hour_at_save < moment

    def note_save(self) -> None:
        """Count minutes and hours from now on."""
        self.saved_at, self.hour_at_save = time.monotonic(), datetime.now()


def prune(checkpoints: Path, config: CheckpointConfig) -> list[Path]:
    """Delete all but the newest `keep_last`, the best one and the milestones. Returns what was deleted.

    Milestones of weights alone lie in folders of another name, which nothing deletes.

    A folder whose marker cannot be read is left alone: it is for a person to judge.
    """
    markers: dict[Path, dict[str, Any]] = {}
    for folder in complete_checkpoints(checkpoints):
        try:
            markers[folder] = read_marker(folder)
        except CheckpointError:
            continue
    kept = set(list(markers)[-config.keep_last :])
    kept |= {folder for folder, marker in markers.items() if marker.get("kind") == "milestone"}
    losses = {folder: marker.get("validation_loss") for folder, marker in markers.items()}
    measured = {folder: loss for folder, loss in losses.items() if loss is not None and math.isfinite(loss)}
    if config.keep_best and measured:
        kept.add(min(measured, key=lambda folder: measured[folder]))
    deleted = [folder for folder in markers if folder not in kept]
    if len(markers) >= config.keep_last:  # enough that is whole, newer than what was damaged
        deleted += checkpoints.glob(f"{DAMAGED}step_*")
    for folder in deleted:
        delete_checkpoint(folder)
    return deleted
