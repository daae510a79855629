"""The command `plan`: what a recipe needs and costs on some GPUs, in less than a second and without a GPU."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.languages import require_language
from megatron_recipe.plan.hardware import profile
from megatron_recipe.plan.plan import Plan, make_plan
from megatron_recipe.recipes import load_config, one_of

DEFAULT_VOCABULARY = 32_000
DOES_NOT_RUN = 2


def plan_command(
    recipe: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    gpu: str,
    gpus: int,
    vocab_size: int | None,
    mfu: float | None,
    tokens: float | None,
    lang: str,
    as_json: bool,
) -> int:
    """Print the plan; returns the exit code: 2 where the recipe does not run on these GPUs.

    Args:
        gpu: a name in hardware.yaml.
        vocab_size: by default that of the recipe's dataset where it is there, else 32,000.
        mfu: a share (0.5) or in % (50), of the BF16 peak, attention counted in full.
        tokens: length of the run, in place of the recipe's steps.
    """
    name = one_of("plan", recipe, config_file)
    _check(gpus, mfu, tokens, vocab_size, lang)
    config = load_config(name, overrides)
    if tokens is not None:
        config = _with_tokens(config, tokens)
    ranks = config.parallel.tensor * config.parallel.pipeline * config.parallel.context
    if gpus % ranks:
        raise ConfigError(
            f"--gpus {gpus}: must be a multiple of the recipe's parallel.tensor × pipeline × context = {ranks}; "
            f"use --gpus {ranks}"
        )
    plan = make_plan(config, recipe, vocab_size or _vocabulary(config), profile(gpu), gpus, mfu)
    if as_json:
        print(json.dumps(plan_values(plan, name), ensure_ascii=False, indent=1))
    else:
        from megatron_recipe.plan.page import print_plan

        print_plan(plan, name, lang)
    return DOES_NOT_RUN if plan.refusal else 0


def plan_values(plan: Plan, recipe: str) -> dict[str, Any]:
    """The plan as plain values; sizes in bytes, money in yuan."""
    values = asdict(plan)
    del values["config"]
    return {
        "recipe": recipe,
        **values,
        "parameters": {**values["parameters"], "total": plan.parameters.total},
        "memory": {**plan.memory.parts(), "allocated": plan.memory.allocated, "total": plan.memory.total},
        "flops": plan.flops_per_token_full * plan.tokens,
        "chinchilla_tokens": plan.chinchilla_tokens,
        "days": plan.days,
        "losses": dict(plan.losses()),
    }


def _check(gpus: int, mfu: float | None, tokens: float | None, vocab_size: int | None, lang: str) -> None:
    if gpus < 1:
        raise ConfigError(f"--gpus {gpus}: must be 1 or more; use the number of GPUs of all machines")
    if mfu is not None and not 0 < mfu <= 100:
        raise ConfigError(f"--mfu {mfu:g}: must be above 0 and at most 100; use a share such as 0.4, or 40 for 40 %")
    if tokens is not None and not 1 <= tokens < math.inf:
        raise ConfigError(f"--tokens {tokens:g}: must be 1 or more; use for example 20e9")
    if vocab_size is not None and vocab_size < 1:
        raise ConfigError(f"--vocab-size {vocab_size}: must be 1 or more; use the tokenizer's, for example 32000")
    require_language(lang)


def _with_tokens(config: Config, tokens: float) -> Config:
    """The recipe with as many steps as make these tokens, at least one."""
    step = config.batch.global_batch_size_samples * config.model.sequence_length_tokens
    steps = max(1, round(tokens / step))
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})


def _vocabulary(config: Config) -> int:
    """The model's, or that of the recipe's dataset where it is there already."""
    from megatron_recipe.dataset_facts import read_dataset_facts, vocabulary

    try:
        return config.model.vocab_size or vocabulary(
            config.model, [read_dataset_facts(Path(config.data.datasets[0].path))]
        )
    except DataError:
        return DEFAULT_VOCABULARY
