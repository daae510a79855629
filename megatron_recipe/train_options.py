"""Options of `train` that are short for settings.

Each becomes overrides of the recipe, so that the run's config.yaml says all.
"""

import re

from megatron_recipe.budget import parse_budget, parse_price
from megatron_recipe.errors import ConfigError

DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?|(\d+)")
SECONDS_OF = (86_400, 3_600, 60, 1, 1)


def overrides_of(
    budget: str | None,
    price: str | None,
    time_limit: str | None,
    skip_samples: list[str],
    profile: str | None,
) -> list[str]:
    """The overrides that these options stand for, in the form of `--set`."""
    overrides: list[str] = []
    if budget:
        values = parse_budget(budget)
        overrides += [f"budget.{name}={value}" for name, value in values.items()]
        overrides += ["schedule.decay=wsd"]
    if price:
        overrides += [f"budget.{name}={value}" for name, value in parse_price(price).items()]
    if time_limit:
        overrides.append(f"train.time_limit_seconds={parse_duration(time_limit)}")
    if skip_samples:
        ranges = ", ".join(
            "{{first: {}, stop: {}}}".format(*parse_range("--skip-samples", text)) for text in skip_samples
        )
        overrides.append(f"data.skip_samples=[{ranges}]")
    if profile:
        first, stop = parse_range("--profile", profile)
        last = stop - 1
        overrides += [f"logging.profile_first_step={first}", f"logging.profile_last_step={last}"]
    return overrides


def parse_duration(text: str) -> int:
    """`23h30m`, `90m`, `2d`, `3600` in seconds."""
    match = DURATION.fullmatch(text.strip())
    numbers = match.groups() if match else ()
    seconds = sum(int(number or 0) * unit for number, unit in zip(numbers, SECONDS_OF, strict=False))
    if seconds <= 0:
        raise ConfigError(f"--time-limit {text}: write a duration, for example 23h30m, 90m or 3600s")
    return seconds


def parse_range(option: str, text: str) -> tuple[int, int]:
    """`A:B` with A < B."""
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", text)
    if match is None or int(match.group(1)) >= int(match.group(2)):
        raise ConfigError(f"{option} {text}: write it as FIRST:STOP with FIRST below STOP, for example 1000:1200")
    return int(match.group(1)), int(match.group(2))
