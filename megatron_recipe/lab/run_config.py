"""The configuration of one run: recipe, comparison, setting, seed, and what makes runs equal in their tokens."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from megatron_recipe.batch_schedule import total_samples
from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError, RecipeError
from megatron_recipe.lab.comparison import Comparison, Setting
from megatron_recipe.recipes import load_config

BATCH = "batch.global_batch_size_samples"
DEFAULTS: dict[str, Any] = {
    # a short run that was killed begins again: its checkpoints would take longer than its steps
    "checkpoint.save_every_steps": 0,
    "checkpoint.save_every_minutes": 10.0,
    "checkpoint.keep_last": 1,
    "checkpoint.keep_best": False,
    "logging.tensorboard": False,
    "budget.at_end": "nothing",  # the first run to end would shut the machine down
    "messages.webhook": "off",  # nobody wants to be called by each of nine runs
}
SET_BY_THE_LAB = {
    "train.steps": "--tokens",
    "train.stop_at_step": "--tokens",
    "budget.amount": "--tokens",
    "budget.at_end": "launch run for a machine that is to be shut down: the first run to end would do it",
    "train.seed": "--seeds",
    "data.seed": "--seeds",
}
RECORDS = 200
"""Training records of a run at least, so that the mean of its last tenth is one of 20."""
VALIDATIONS, VALIDATIONS_FOR_TARGET = 4, 20
"""Of a run. Each costs time that is not training; a target loss is found no finer than their distance."""


def load_setting(comparison: Comparison, setting: Setting) -> Config:
    """The configuration of a setting, without the seed and the length of a run.

    Raises:
        ConfigError: named by the setting's label.
    """
    given = {**comparison.overrides, **setting.overrides}
    for name, option in SET_BY_THE_LAB.items():
        if name in given:
            raise ConfigError(
                f"setting {setting.label!r}: {name}={given[name]}: a comparison sets it itself, the same for all; "
                f"use {option}"
            )
    with naming(setting.label):
        # JSON is YAML, which `load_config` reads values as
        return load_config(
            comparison.recipe, tuple(f"{name}={json.dumps(value)}" for name, value in {**DEFAULTS, **given}.items())
        )


def run_config(comparison: Comparison, setting: Setting, seed: int) -> Config:
    """The configuration of one run of a resolved comparison: as many steps as make its tokens, on one seed.

    Raises:
        ConfigError: the tokens are no whole steps.
    """
    config = load_setting(comparison, setting)
    tokens = comparison.tokens_per_run or 0
    steps = max(1, tokens // step_tokens(config))
    given = {**comparison.overrides, **setting.overrides}
    validations = VALIDATIONS_FOR_TARGET if comparison.target_loss else VALIDATIONS
    lengths = {
        "log_every_steps": min(config.train.log_every_steps, max(1, steps // RECORDS)),
        "validate_every_steps": max(1, steps // validations),
        "validation_samples": _validation_samples(comparison, config),
    }
    free = {name: value for name, value in lengths.items() if f"train.{name}" not in given}
    config = config.model_copy(
        update={
            "train": config.train.model_copy(update={**free, "steps": steps, "seed": seed}),
            "data": config.data.model_copy(update={"seed": seed}),
        }
    )
    made = total_samples(config) * config.model.sequence_length_tokens
    if made != tokens:
        raise ConfigError(
            f"setting {setting.label!r}: {steps} steps make {made:,} tokens with the ramp-up of its batch, and every "
            f"setting has {tokens:,}; set batch.ramp_up_from_samples=0"
        )
    return config


def step_tokens(config: Config) -> int:
    """Tokens of a step of the full batch."""
    return config.batch.global_batch_size_samples * config.model.sequence_length_tokens


def _validation_samples(comparison: Comparison, config: Config) -> int:
    """As many as hold the recipe's held-out tokens, where a setting changes the length of a sample."""
    recipe = load_config(comparison.recipe).model.sequence_length_tokens
    samples = config.train.validation_samples * recipe // config.model.sequence_length_tokens
    return max(1, samples) if config.train.validation_samples else 0


@contextmanager
def naming(label: str) -> Iterator[None]:
    """Have a mistake inside the block name the setting that it is in."""
    try:
        yield
    except RecipeError as error:
        raise type(error)(f"setting {label!r}: {error}") from error
