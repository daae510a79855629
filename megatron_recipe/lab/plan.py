"""The runs of a comparison: every setting on every seed, each with its folder; all checked before the first starts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe import settings
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts, read_dataset_facts, vocabulary
from megatron_recipe.errors import ConfigError
from megatron_recipe.init_from import check_init_from
from megatron_recipe.lab.comparison import Comparison
from megatron_recipe.lab.resolved import require_common_text
from megatron_recipe.lab.run_config import naming, run_config
from megatron_recipe.loggers import check_packages
from megatron_recipe.mix import corpus_paths
from megatron_recipe.plan.hardware import Hardware
from megatron_recipe.plan.resolve import resolve
from megatron_recipe.recipes import load_config
from megatron_recipe.validation import check_config

CONFIG = "config.yaml"
# A run may be continued with other values of these: they are no part of what is compared.
ASIDE = ("train.time_limit_seconds", "batch.micro_batch_size_samples", "memory.recompute", "data.num_workers")
ASIDE_SECTIONS = ("kernels", "checkpoint", "budget", "logging", "messages")
FOLLOWS = ("train.steps", "train.log_every_steps", "train.validate_every_steps", "train.validation_samples")
"""Fields that follow from others and from the tokens of a run."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: a setting on a seed."""

    number: int
    """From 0, in the order in which they are run: all settings on the first seed, then on the next."""
    label: str
    seed: int
    config: Config
    folder: Path


@dataclass(frozen=True)
class Plan:
    """A resolved comparison and its runs."""

    comparison: Comparison
    folder: Path
    runs: list[PlannedRun]
    held_out: list[str]
    """Kinds of the validation records whose mean is a run's held-out loss."""

    @property
    def changed(self) -> list[str]:
        """Fields that differ between the settings, without those that follow from them."""
        values = [flat(run.config) for run in self.runs]
        names = {name for one in values for name in one}
        left_out = {"train.seed", "data.seed", *FOLLOWS}
        return sorted(
            name for name in names - left_out if any(one.get(name) != values[0].get(name) for one in values[1:])
        )

    def of(self, label: str) -> list[PlannedRun]:
        """The runs of a setting, by seed."""
        return [run for run in self.runs if run.label == label]


def make_plan(comparison: Comparison, folder: Path) -> Plan:
    """The runs of a resolved comparison, seed after seed, so that whole rounds are there early.

    Raises:
        ConfigError: two settings are the same, or have one folder's name.
        DataError: the settings cannot be measured on the same text.
    """
    settings = comparison.settings
    seeds_of = {setting.label: setting.seeds or comparison.seeds for setting in settings}
    rounds = max(map(len, seeds_of.values()))
    pairs = [
        (setting, seeds_of[setting.label][position])
        for position in range(rounds)
        for setting in settings
        if position < len(seeds_of[setting.label])
    ]
    runs = [
        PlannedRun(
            number,
            setting.label,
            seed,
            run_config(comparison, setting, seed),
            folder / "runs" / f"{slug(setting.label)}-seed{seed}",
        )
        for number, (setting, seed) in enumerate(pairs)
    ]
    _require_own_folders(runs)
    first_of_each = {run.label: run.config for run in reversed(runs)}
    held_out = require_common_text({setting.label: first_of_each[setting.label] for setting in settings})
    return Plan(comparison, folder, runs, held_out)


def slug(label: str) -> str:
    """A label as a folder's name, in any script."""
    return re.sub(r"[^\w.+-]+", "_", label).strip("_") or "_"


def _require_own_folders(runs: list[PlannedRun]) -> None:
    owners: dict[Path, PlannedRun] = {}
    for run in runs:
        other = owners.setdefault(run.folder, run)
        if other is not run:
            raise ConfigError(
                f"settings {other.label!r} and {run.label!r}: both would be run in {run.folder}; give one another label"
            )


def check_plan(plan: Plan, hardware: Hardware | None, *, here: bool = True) -> list[DatasetFacts]:
    """Check every run before one starts; a setting's mistake names it. Returns the facts of all datasets.

    Args:
        hardware: the card that each run has; None is a CPU.
        here: the runs are for this machine; false leaves its own rules to the machines that they go to.

    Raises:
        ConfigError, DataError: as training would, or a run folder that holds another run.
    """
    facts = check_runs(plan.runs, hardware, here=here)
    for run in plan.runs:
        require_same_run(run)
    return facts


def check_runs(runs: Sequence[PlannedRun], hardware: Hardware | None, *, here: bool = True) -> list[DatasetFacts]:
    """`check_plan` without a look at what the run folders hold."""
    known: dict[str, DatasetFacts] = {}

    def facts_of(path: str) -> DatasetFacts:
        if path not in known:
            known[path] = read_dataset_facts(Path(path))
        return known[path]

    for run in runs:
        with naming(run.label):
            config = run.config
            facts = [facts_of(path) for path in corpus_paths(config)]
            held_out = [facts_of(entry.path) for entry in config.data.validation_sets]
            if here:
                config = resolve(config, vocabulary(config.model, facts), hardware, 1)
                check_packages(config)
            check_config(config, facts, 1, on_cpu=here and hardware is None, held_out=held_out)
            check_init_from(config, facts, run.folder)
    return list(known.values())


def require_same_run(run: PlannedRun) -> None:
    """Raise ConfigError if the run's folder holds a run of other settings."""
    path = run.folder / CONFIG
    if path.is_file():
        with naming(run.label):
            require_same(run.folder, load_config(str(path)), run.config)


def require_same(folder: Path, there: Config, wanted: Config) -> None:
    """Raise ConfigError if a run folder's configuration is another than the one that is wanted."""
    before, now = flat(there), flat(wanted)
    changed = [
        f"{name}={before.get(name)} there, {now.get(name)} now"
        for name in sorted(set(before) | set(now))
        if before.get(name) != now.get(name) and name not in ASIDE and name.split(".")[0] not in ASIDE_SECTIONS
    ]
    if changed:
        raise ConfigError(
            f"{folder} holds a run of other settings: {'; '.join(changed)}; name another --out, or delete it"
        )


def flat(config: Config) -> dict[str, Any]:
    """The values of a configuration by `section.field`."""
    return settings.flat(config.model_dump(mode="json"))
