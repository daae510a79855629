"""A reference curve from finished runs that differ in their seeds alone."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megatron_recipe import __version__
from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.lab.result import cpu_name
from megatron_recipe.lab.run_states import outcome_of
from megatron_recipe.recipes import load_config, parse_config, recipe_names
from megatron_recipe.references import FORMAT, Reference
from megatron_recipe.references.comparable import datasets_of, settings_of, tokens_per_step
from megatron_recipe.report.run_files import Run, read_run
from megatron_recipe.settings import parse

SHARE = 0.9
TREND_HALF = 2
"""Records to each side that the middle of the band is a mean of, over all seeds."""
SPREAD_HALF, SPREAD_SHARE = 5, 0.02
"""Records to each side, at least and as a share of all, whose distances from the middle make the edges."""
MOST_POINTS = 400
LEAST_RECORDS = 20

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """The curve: arrays of shape [records]."""

    low: Array
    middle: Array
    high: Array


def make_reference(folders: Sequence[Path], name: str) -> Reference:
    """The reference that these runs make.

    Raises:
        ConfigError: fewer than two runs, or runs that differ in more than their seeds.
        DataError: a run that is not finished, or has too few records.
    """
    if len(folders) < 2:
        raise ConfigError(f"lab reference {folders[0]}: one run has no spread; name two or more, of different seeds")
    runs = [_finished(folder) for folder in folders]
    first = runs[0]
    for run in runs[1:]:
        _check_alike(first, run)
    seeds = [_seed(run) for run in runs]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"train.seed={max(seeds, key=seeds.count)} in several of the runs: the same run again says nothing of the "
            "spread; give each run its own train.seed and data.seed"
        )
    config = parse_config(first.config, str(first.folder / "config.yaml"))
    recipe, overrides = nearest_recipe(config)
    records = _records(first)
    found = band(np.array([[record["loss"] for record in _records(run)] for run in runs], dtype=np.float64))
    shown = np.unique(np.linspace(0, len(records) - 1, min(MOST_POINTS, len(records))).round().astype(int))
    values: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "recipe": recipe,
        "overrides": overrides,
        "settings": settings_of(first.config),
        "parameters": first.environment.get("parameters"),
        "tokens_per_step": tokens_per_step(first.config),
        "share": SHARE,
        "steps": [records[index]["step"] for index in shown],
        "tokens": [records[index]["tokens"] for index in shown],
        "low": _rounded(found.low[shown]),
        "median": _rounded(found.middle[shown]),
        "high": _rounded(found.high[shown]),
        "seeds": seeds,
        "held_out_losses": [run.validation[-1]["loss"] if run.validation else None for run in runs],
        "datasets": datasets_of(first.config, first.folder),
        "command": command_of(recipe, overrides),
        "date": max(_day(run) for run in runs),
        "hardware": _noted(runs, _hardware),
        "version": _noted(runs, lambda run: run.environment.get("git") or __version__),
    }
    return parse(Reference, values, f"lab reference {' '.join(map(str, folders))}", "reference")


def band(losses: Array) -> Band:
    """The band of `losses` of shape [seeds, records] whose share SHARE of all records lies inside.

    The middle is the mean over the seeds and the nearest records. The edges are quantiles of the distances from it,
    over the seeds and the records around: they hold the noise of one batch and what one seed differs from another.
    """
    seeds, count = losses.shape
    spread_half = max(SPREAD_HALF, int(SPREAD_SHARE * count))
    halves = [min(TREND_HALF, index, count - 1 - index) for index in range(count)]  # shorter, not lopsided, at the ends
    middle = np.array([losses[:, i - half : i + half + 1].mean() for i, half in enumerate(halves)])
    # a mean of n records has taken 1/n of their variance with it, and errs by as much for a record that is not in it
    ahead = np.array([math.sqrt((n + 1) / (n - 1)) for n in (seeds * (2 * half + 1) for half in halves)])
    distances = (losses - middle) * ahead
    around = [distances[:, max(i - spread_half, 0) : i + spread_half + 1] for i in range(count)]
    tails = 0.5 - SHARE / 2, 0.5 + SHARE / 2
    # of the estimates of a quantile, `weibull` is the one whose share holds for the next record, not for these
    edges = np.array([np.quantile(near, tails, method="weibull") for near in around])
    return Band(middle + edges[:, 0], middle, middle + edges[:, 1])


def nearest_recipe(config: Config) -> tuple[str, dict[str, Any]]:
    """The recipe that comes with the project from which `config` differs least, and in what it differs."""

    def changes(name: str) -> dict[str, Any]:
        recipe = load_config(name)
        own, its = (settings_of(one.model_dump(mode="json")) for one in (config, recipe))
        return {field: value for field, value in own.items() if value != its.get(field)}

    def distance(name: str) -> tuple[int, bool]:
        return len(changes(name)), load_config(name).precision != config.precision

    nearest = min(recipe_names(), key=distance)
    return nearest, changes(nearest)


def command_of(recipe: str, overrides: dict[str, Any]) -> str:
    """What makes a run of a reference; the dataset and the seeds are for whoever runs it to fill in."""
    changed = [f"{name}={'null' if value is None else value}" for name, value in overrides.items()]
    places = ["data.datasets=DATASET", "train.seed=SEED", "data.seed=SEED"]
    sets = " ".join(f"--set {shlex.quote(one)}" for one in [*changed, *places])
    return f"megatron-recipe train {recipe} {sets}"


def _finished(folder: Path) -> Run:
    run = read_run(folder)
    if outcome_of(folder).state != "finished":
        raise DataError(
            f"{folder}: has not come to its last step, and a reference is made of whole runs; wait for it, or continue "
            f"it: megatron-recipe train --config {folder / 'config.yaml'}"
        )
    if len(_records(run)) < LEAST_RECORDS:
        raise DataError(
            f"{folder}: {len(_records(run))} training records, and a band needs {LEAST_RECORDS}; run it with a smaller "
            "train.log_every_steps"
        )
    return run


def _records(run: Run) -> list[dict[str, Any]]:
    return [record for record in run.train if math.isfinite(record["loss"])]


def _check_alike(first: Run, other: Run) -> None:
    pairs = {
        **{name: (value, settings_of(other.config).get(name)) for name, value in settings_of(first.config).items()},
        "parameters": (first.environment.get("parameters"), other.environment.get("parameters")),
        "training tokens (SHA-256)": (_checksums(first), _checksums(other)),
        "steps of the records": ([r["step"] for r in _records(first)], [r["step"] for r in _records(other)]),
    }
    wrong = [name for name, (one, two) in pairs.items() if one != two]
    if wrong:
        raise ConfigError(
            f"{first.folder} and {other.folder} differ in {', '.join(wrong)}; a reference is made of runs that differ "
            "in train.seed and data.seed alone"
        )


def _checksums(run: Run) -> list[str | None]:
    return [one.get("sha256") for one in datasets_of(run.config, run.folder)]


def _seed(run: Run) -> int:
    return int((run.config.get("train") or {}).get("seed", 0))


def _day(run: Run) -> str:
    times = [str(event.get("time")) for event in run.events if event.get("event") == "end"]
    return datetime.fromisoformat(times[-1]).date().isoformat() if times else ""


def _hardware(run: Run) -> str:
    device, count = str(run.environment.get("device") or "unknown"), run.environment.get("world_size") or 1
    if device == "cpu":
        return cpu_name()
    return device if count == 1 else f"{count} x {device}"


def _noted(runs: Sequence[Run], of: Any) -> str:
    return ", ".join(dict.fromkeys(str(of(run)) for run in runs))


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 4) for value in values]
