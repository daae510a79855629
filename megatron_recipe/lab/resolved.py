"""From a comparison as it was asked for to one whose settings are all spelled out: what plan.yaml holds."""

import itertools
import math
import re
from typing import Any

from megatron_recipe.batch_schedule import total_samples
from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.lab.comparison import Comparison, Setting
from megatron_recipe.lab.run_config import BATCH, load_setting, step_tokens
from megatron_recipe.recipes import load_config

STEPS = re.compile(r"\s*([0-9][0-9_,]*)\s+steps\s*")
FRACTION = "_fraction"


def resolved(comparison: Comparison) -> Comparison:
    """The same comparison with settings instead of a grid or mixes, fractions and batches as numbers, tokens that all
    settings can train on to the last one. Resolving it again changes nothing.

    Raises:
        ConfigError: a setting that cannot be, named by its label.
    """
    if comparison.mixes:
        comparison = _with_mixes(comparison)
    elif comparison.sources:
        raise ConfigError(
            f"--data names sources of a data mix, and {comparison.name} has no mixes; use --dataset FOLDER"
        )
    if comparison.grid:
        settings = list(_combinations(comparison.grid))
        comparison = comparison.model_copy(update={"settings": settings, "grid": {}})
    comparison = _with_fractions(comparison)
    tokens = comparison.tokens_per_run or _recipe_tokens(comparison)
    comparison = comparison.model_copy(update={"tokens_per_run": tokens})
    if comparison.least_steps:
        comparison = _with_scaled_batches(comparison)
    return comparison.model_copy(update={"tokens_per_run": _common_tokens(comparison)})


def _with_mixes(comparison: Comparison) -> Comparison:
    """Mixes as settings of data.datasets, measured on every source."""
    sources, mixes = comparison.sources, comparison.mixes
    if len(sources) < 2:
        raise ConfigError(
            f"{comparison.name} compares sources, and --data gave {len(sources)}; give two or more as --data "
            "NAME=FOLDER, folders of `data prepare` with one tokenizer (its --tokenizer)"
        )
    shares = {name: {name: 1.0} for name in sources} if mixes == "each_alone" else mixes
    assert isinstance(shares, dict)
    settings = []
    for label, weights in shares.items():
        if unknown := sorted(set(weights) - set(sources)):
            raise ConfigError(
                f"mix {label!r} names {', '.join(unknown)}; --data gave {', '.join(sources)}: name one of these, or "
                f"add --data {unknown[0]}=FOLDER"
            )
        datasets = [{"path": sources[name], "weight": weight} for name, weight in weights.items()]
        settings.append(Setting(label=label, overrides={"data.datasets": datasets}))
    held_out = [{"name": name, "path": path} for name, path in sources.items()]
    return comparison.model_copy(
        update={
            "settings": settings,
            "mixes": None,
            "sources": {},
            "overrides": {**comparison.overrides, "data.validation_sets": held_out},
        }
    )


def _combinations(grid: dict[str, list[Any]]) -> list[Setting]:
    """Every combination of a grid's values; one field alone is not named in the labels."""
    settings = []
    for values in itertools.product(*grid.values()):
        overrides = dict(zip(grid, values, strict=True))
        named = [f"{name.split('.')[-1]}={value}" for name, value in overrides.items()]
        settings.append(Setting(label=" ".join(named) if len(grid) > 1 else str(values[0]), overrides=overrides))
    return settings


def _with_fractions(comparison: Comparison) -> Comparison:
    """`1000 steps` of the full run as its share."""
    settings = []
    for setting in comparison.settings:
        shares = {}
        for name, value in setting.overrides.items():
            if match := STEPS.fullmatch(value) if isinstance(value, str) else None:
                shares[name] = _share(comparison, setting, name, int(re.sub("[_,]", "", match.group(1))))
        settings.append(setting.model_copy(update={"overrides": {**setting.overrides, **shares}}))
    return comparison.model_copy(update={"settings": settings})


def _share(comparison: Comparison, setting: Setting, name: str, steps: int) -> float:
    if not name.endswith(FRACTION):
        raise ConfigError(
            f"setting {setting.label!r}: {name}={steps} steps: only a field that is a fraction of the run can be given "
            "in steps, such as schedule.warmup_fraction; write its number"
        )
    full = comparison.full_run or comparison.recipe
    whole = load_config(full).train.steps
    if steps >= whole:
        raise ConfigError(
            f"setting {setting.label!r}: {name}={steps} steps is no less than the whole run of {full}, {whole} steps; "
            "use fewer, or name a longer full_run"
        )
    return steps / whole


def _recipe_tokens(comparison: Comparison) -> int:
    """The recipe's own length."""
    config = load_setting(comparison, Setting(label="the recipe"))
    return total_samples(config) * config.model.sequence_length_tokens


def _with_scaled_batches(comparison: Comparison) -> Comparison:
    """All global batches of the settings halved until the largest makes `least_steps` steps of the run's tokens."""
    tokens, least = comparison.tokens_per_run or 0, comparison.least_steps
    configs = [load_setting(comparison, setting) for setting in comparison.settings]
    divisor = 1
    while any(tokens < least * step_tokens(config) / divisor for config in configs):
        divisor *= 2
        if any(config.batch.global_batch_size_samples % divisor for config in configs):
            raise ConfigError(_too_short(comparison, configs, divisor // 2))
    settings = [_scaled(setting, divisor) for setting in comparison.settings]
    return comparison.model_copy(update={"settings": settings, "least_steps": 0})


def _scaled(setting: Setting, divisor: int) -> Setting:
    if divisor == 1 or BATCH not in setting.overrides:
        return setting
    batch = int(setting.overrides[BATCH])
    overrides = {**setting.overrides, BATCH: batch // divisor}
    return setting.model_copy(update={"label": f"{batch // divisor} = {batch}÷{divisor}", "overrides": overrides})


def _too_short(comparison: Comparison, configs: list[Config], divisor: int) -> str:
    needed = comparison.least_steps * max(map(step_tokens, configs)) // divisor
    sizes = ", ".join(str(config.batch.global_batch_size_samples) for config in configs)
    return (
        f"--tokens {comparison.tokens_per_run}: too short for batches of {sizes} samples, also divided by {divisor}: "
        f"the largest has to make {comparison.least_steps} steps; use --tokens {needed} or more"
    )


def _common_tokens(comparison: Comparison) -> int:
    """The tokens asked for, down to a number that is whole steps of every setting.

    Raises:
        ConfigError: they are less than one such number.
    """
    asked = comparison.tokens_per_run or 0
    sizes = {setting.label: step_tokens(load_setting(comparison, setting)) for setting in comparison.settings}
    multiple = math.lcm(*sizes.values())
    tokens = asked // multiple * multiple
    if not tokens:
        steps = ", ".join(f"{label} {size:,}" for label, size in sizes.items())
        raise ConfigError(
            f"--tokens {asked}: every setting trains on the same tokens, so that they are a multiple of {multiple:,} "
            f"(tokens of a step: {steps}); use --tokens {multiple} or more"
        )
    return tokens


def require_common_text(configs: dict[str, Config]) -> list[str]:
    """Kinds of the validation records that a setting's held-out loss is the mean of: the same text for all settings.

    That of the mix where all settings have one mix, else the sets of `data.validation_sets`.

    Args:
        configs: by label.

    Raises:
        DataError: the settings have no text in common.
    """
    mixes = {tuple((entry.path, entry.weight) for entry in config.data.datasets) for config in configs.values()}
    if len(mixes) == 1:
        return ["validation"]
    sets = [[(one.name, one.path) for one in config.data.validation_sets] for config in configs.values()]
    if not sets[0] or any(one != sets[0] for one in sets):
        raise DataError(
            "the settings train on different data.datasets, and have no data.validation_sets in common; name the same "
            "ones for all, or no loss of theirs can be compared"
        )
    return [f"validation/{name}" for name, _ in sets[0]]
