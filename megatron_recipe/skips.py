"""Positions in the data's order that a run leaves out, in RUN/skips.json: by rollbacks, and by the user's word.

The file outlives every checkpoint: a run that is rolled back, killed and continued leaves out the same samples.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megatron_recipe.config import SampleRange
from megatron_recipe.errors import CheckpointError, ConfigError, in_short
from megatron_recipe.files import write_json

SKIPS = "skips.json"


class Skips:
    """What a run leaves out, in order; `ranges` is what the data loader reads."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / SKIPS
        self.entries: list[dict[str, Any]] = []
        if self.path.is_file():
            try:
                self.entries = json.loads(self.path.read_text(encoding="utf-8"))["skips"]
                self.ranges  # noqa: B018 - an entry without its range is found here, not in the middle of a run
            except (ValueError, KeyError, TypeError) as error:
                raise CheckpointError(
                    f"{self.path}: damaged ({in_short(error)}); it says which samples the run left out: write it anew "
                    'as {"skips": []} to leave out none, or with the ranges of the rollback events in events.jsonl'
                ) from error

    @property
    def ranges(self) -> list[SampleRange]:
        """Ranges that are never trained on, from the first to the last, none inside another."""
        merged: list[SampleRange] = []
        for first, stop in sorted((entry["first"], entry["stop"]) for entry in self.entries):
            if merged and first <= merged[-1].stop:
                merged[-1] = SampleRange(first=merged[-1].first, stop=max(stop, merged[-1].stop))
            else:
                merged.append(SampleRange(first=first, stop=stop))
        return merged

    def wanted(self, ranges: Iterable[SampleRange], position: int) -> list[SampleRange]:
        """Those of the user's ranges that the file does not have yet.

        Raises ConfigError for one that begins before `position`: those samples were trained on.
        """
        known = {(entry["first"], entry["stop"]) for entry in self.entries}
        new = [one for one in ranges if (one.first, one.stop) not in known]
        for one in new:
            if one.first < position:
                raise ConfigError(
                    f"data.skip_samples={one.first}:{one.stop} begins before position {position}, where the run "
                    f"stands: earlier samples were trained on; begin at {position} or later, or delete the newest "
                    "checkpoints to go back first"
                )
        return new

    def add(self, first: int, stop: int, **facts: Any) -> None:
        """Leave out [first, stop) from now on; the file follows with `write`."""
        self.entries.append({"first": first, "stop": stop, **facts})

    def write(self) -> None:
        """Write the file; the first rank does."""
        write_json(self.path, {"skips": self.entries})
