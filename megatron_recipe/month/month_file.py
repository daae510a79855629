"""month.yaml in the user's folder: the plan's dates, money and names. Evidence is never kept there, only found."""

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PlainSerializer, field_validator

from megatron_recipe.errors import ConfigError
from megatron_recipe.files import atomic_file
from megatron_recipe.settings import Section, parse

NAME = "month.yaml"
DAYS = 30

Relative = Annotated[Path, PlainSerializer(str, return_type=str)]


class Month(Section):
    """What the user decides; everything else is read from runs, datasets and reports."""

    begins: date
    """First day of the plan."""
    ends: date
    """Last day of the plan."""
    budget: float = Field(default=4000.0, ge=0)
    """Money for rented machines, in `currency`."""
    currency: Literal["cny", "usd"] = "cny"
    price_per_hour: float = Field(default=0.0, ge=0)
    """Of one rented GPU, to say what a task costs; 0 is not known."""
    platform: Literal["autodl", "runpod", "lambda", "own"] = "autodl"
    """Where the GPUs are."""
    scale: Literal["full", "miniature"] = "full"
    """`miniature` walks the plan with models of any size, on a CPU; `full` asks for 70M or more and for a 1B."""
    dataset: Relative = Path("datasets/main")
    small: str = "small"
    """Name of the 100M-300M run, and of its export."""
    big: str = "big"
    """Name of the 1B run, and of its export."""
    said: dict[str, date] = Field(default_factory=dict)
    """Tasks that leave no file, by their id: the day on which the user said that they are done."""

    @field_validator("small", "big")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not value or "/" in value or value.startswith("."):
            raise ValueError("a run's name, without folders: runs/NAME and exports/NAME are made of it")
        return value

    @property
    def days(self) -> int:
        """Length of the plan."""
        return (self.ends - self.begins).days + 1

    def day_of(self, today: date) -> int:
        """Number of the day, from 1; below 1 before the plan begins."""
        return (today - self.begins).days + 1


def read_month(folder: Path, today: date) -> Month:
    """The month of `folder`, with defaults that begin today where there is none.

    Raises:
        ConfigError: the file is damaged, has an unknown or wrong field, or ends before it begins.
    """
    path = folder / NAME
    if not path.is_file():
        return Month(begins=today, ends=today + timedelta(days=DAYS - 1))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}; mend or delete it") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a mapping of fields is expected, not {type(values).__name__}; mend or delete it")
    return checked(values, str(path))


def checked(values: dict[str, Any], origin: str) -> Month:
    """The month of plain values. Raises ConfigError as `read_month` does; `origin` names where they are from."""
    if values.get("said") is None:
        values = {name: value for name, value in values.items() if name != "said"}
    missing = [name for name in ("begins", "ends") if values.get(name) is None]
    if missing:
        raise ConfigError(f"{origin}: {missing[0]} is missing; add a line such as {missing[0]}: {date.today()}")
    month = parse(Month, values, origin, "month")
    if month.ends < month.begins:
        raise ConfigError(
            f"{origin}: ends={month.ends} is before begins={month.begins}; give a later --ends or an earlier --begins"
        )
    early = {name: day for name, day in month.said.items() if day < month.begins}
    if early:
        name, day = next(iter(early.items()))
        raise ConfigError(f"{origin}: said.{name}={day} is before begins={month.begins}; correct one of the dates")
    return month


def changed(month: Month, values: dict[str, Any]) -> Month:
    """The month with other values, checked; None leaves a value. New dates move the end along with the beginning."""
    given = {name: value for name, value in values.items() if value is not None}
    if "begins" in given and "ends" not in given:
        given["ends"] = _day("--begins", given["begins"]) + (month.ends - month.begins)
    return checked({**month.model_dump(), **given}, "megatron-recipe today")


def _day(option: str, text: str | date) -> date:
    try:
        return text if isinstance(text, date) else date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: not a date; write it as 2026-11-25") from None


def write_month(month: Month, folder: Path) -> None:
    """Write month.yaml, whole or not at all."""
    with atomic_file(folder / NAME) as file:
        file.write(f"# The ledger of `megatron-recipe today`. Days: {month.days}. Change it here or by options.\n")
        yaml.safe_dump(month.model_dump(), file, sort_keys=False, allow_unicode=True)
