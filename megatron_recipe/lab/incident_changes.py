"""What is done to a run to break it, or to mend it: kinds of changes, each a class that an incident's file names.

A change may alter the run's settings, make data of its own, reach into the run's process, or strike it from outside.
"""

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.settings import Section

FACTOR = re.compile(r"\s*([×÷])\s*([0-9]+(?:\.[0-9]+)?)\s*")


class Change(Section):
    """A kind of change. A subclass has `kind: Literal[...]` and overrides what it needs; the rest does nothing."""

    kind: str
    """Which kind, in the file."""

    def settings(self, config: Config) -> dict[str, Any]:
        """Values by `section.field` that this change gives a run. Touches no file.

        Args:
            config: of the healthy run.
        """
        return {}

    def prepare(self, config: Config, folder: Path, control: Path) -> dict[str, Any]:
        """Make the files that the run needs, once: what is there already stays. Returns values by `section.field`.

        Called in the run's process before each of its starts, when the control has ended.

        Args:
            config: of this run.
            folder: for the files; this run's own, and not the run folder.
            control: the control's run folder.
        """
        return {}

    def inside(self, config: Config) -> AbstractContextManager[None]:
        """What surrounds the training, in the run's own process."""
        return nullcontext()

    def strikes(self, config: Config, folder: Path) -> bool:
        """Whether the run is to be killed (SIGKILL) now; asked some times a second while it trains.

        Args:
            folder: the run's. A change that strikes once looks there whether it has.
        """
        return False

    def aftermath(self, config: Config, folder: Path) -> None:
        """What happens to the folder of a run that this change killed, before the run is begun again."""


class Settings(Change):
    """Other settings."""

    kind: Literal["settings"] = "settings"
    """Which kind, in the file."""
    overrides: dict[str, Any]
    """Values by `section.field`. `× 10` and `÷ 4` are relative to the healthy run's value."""

    def settings(self, config: Config) -> dict[str, Any]:
        """The values, with those that are relative worked out."""
        return {name: relative(name, value, config) for name, value in self.overrides.items()}


def relative(name: str, value: Any, config: Config) -> Any:
    """`value`; where it is written as `× 10` or `÷ 4`, that many times the configuration's. Whole numbers stay whole.

    Raises:
        ConfigError: the configuration has no number there.
    """
    match = FACTOR.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    known = value_of(config, name)
    if isinstance(known, bool) or not isinstance(known, int | float):
        raise ConfigError(f"{name}={value}: the healthy run has {known!r} there, which is no number; write the value")
    factor = float(match.group(2)) if match.group(1) == "×" else 1 / float(match.group(2))
    return max(1, round(known * factor)) if isinstance(known, int) else known * factor


def value_of(config: Config, name: str) -> Any:
    """The value of `section.field`; None where there is none."""
    value: Any = config.model_dump(mode="json")
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
