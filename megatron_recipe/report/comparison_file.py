"""Read a comparison: the folder that `megatron-recipe lab compare` writes, with comparison.json and its runs.

The intervals and conclusions are those of the file: nothing is computed again here, and what is null stays unknown.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe.errors import DataError

COMPARISON = "comparison.json"
FORMAT = 1
FINISHED = "finished"
Record = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    """Mean over the seeds of a setting; `low` and `high` are None where no interval could be computed."""

    mean: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class OneRun:
    """One setting with one seed."""

    seed: int
    folder: Path
    state: str
    """`finished`, `failed`, `stopped` or `not run`."""
    reason: str | None


@dataclass(frozen=True)
class Setting:
    """One of the values compared."""

    label: str
    overrides: Record
    runs: list[OneRun]
    summary: dict[str, Spread]
    """By measure; what was not measured is left out."""


@dataclass(frozen=True)
class Pair:
    """The difference a - b of two settings in one measure; `low` and `high` are None where there is no interval."""

    a: str
    b: str
    measure: str
    difference: float
    low: float | None
    high: float | None
    seeds: int
    is_shown: bool
    is_paired: bool
    """Whether runs of the same seed were subtracted; else the means of all."""


@dataclass(frozen=True)
class Comparison:
    """Everything comparison.json says."""

    folder: Path
    facts: Record
    """The file itself: name, title, recipe, command, times, hardware and so on."""
    settings: list[Setting]
    measures: dict[str, Record]
    """Unit and better direction, by measure, in the order of the file."""
    pairs: list[Pair]
    conclusions: list[Record]

    @property
    def name(self) -> str:
        """Name of the comparison."""
        return str(self.facts["name"])

    @property
    def runs(self) -> list[tuple[Setting, OneRun]]:
        """All runs with their settings."""
        return [(setting, run) for setting in self.settings for run in setting.runs]

    @property
    def main_measure(self) -> str | None:
        """The measure that the differences are drawn for: the first that has any, as the file orders them."""
        measured = {pair.measure for pair in self.pairs}
        preferred = ("validation_loss", "train_loss", *self.measures)
        return next((name for name in preferred if name in measured), None)

    def title(self, lang: str) -> str:
        """The title in a language, the name where it has none."""
        return self.text("title", lang) or self.name

    def text(self, name: str, lang: str) -> str:
        """A text that the comparison's author wrote, in a language, the English one where there is no other."""
        texts = self.facts.get(name) or {}
        return str(texts.get(lang) or texts.get("en") or "")


def is_comparison(folder: Path) -> bool:
    """Whether `folder` holds a comparison."""
    return (folder / COMPARISON).is_file()


def read_comparison(folder: Path) -> Comparison:
    """Read the comparison in `folder`; DataError where there is none or its file is damaged."""
    path = folder / COMPARISON
    if not path.is_file():
        raise DataError(f"{folder} is no comparison: it has no {COMPARISON}; `megatron-recipe lab compare` writes one")
    try:
        facts = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is no valid JSON ({error}); run its comparison again: it continues") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else facts
        raise DataError(f"{path}: format={found!r} must be {FORMAT}; write it with this version of megatron-recipe")
    try:
        return _comparison(folder, facts)
    except (KeyError, TypeError, AttributeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} is damaged: {what}; run its comparison again: it continues") from error


def _comparison(folder: Path, facts: Record) -> Comparison:
    facts["name"]  # the one fact without which nothing can be titled
    return Comparison(
        folder=folder,
        facts=facts,
        settings=[_setting(folder, entry) for entry in facts["settings"]],
        measures=dict(facts["measures"]),
        pairs=[
            Pair(
                a=str(entry["a"]),
                b=str(entry["b"]),
                measure=str(entry["measure"]),
                difference=entry["difference"],
                low=_finite(entry.get("low")),
                high=_finite(entry.get("high")),
                seeds=entry["seeds"],
                is_shown=bool(entry["shown"]),
                is_paired=bool(entry.get("paired", True)),
            )
            for entry in facts["pairs"]
            if _finite(entry["difference"]) is not None
        ],
        conclusions=[{**entry, "kind": entry["kind"]} for entry in facts["conclusions"]],
    )


def _setting(folder: Path, entry: Record) -> Setting:
    return Setting(
        label=str(entry["label"]),
        overrides=dict(entry["overrides"]),
        runs=[
            OneRun(
                seed=run["seed"],
                folder=folder / str(run.get("folder") or ""),
                state=str(run["state"]),
                reason=None if run.get("reason") is None else str(run["reason"]),
            )
            for run in entry["runs"]
        ],
        summary={
            measure: Spread(found["mean"], _finite(found.get("low")), _finite(found.get("high")), found["count"])
            for measure, found in entry["summary"].items()
            if found is not None and _finite(found.get("mean")) is not None
        },
    )


def _finite(value: float | None) -> float | None:
    """The number; None where there is none, or one that cannot be drawn or compared."""
    return value if value is not None and math.isfinite(value) else None
