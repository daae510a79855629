"""The tasks of the plan, from weeks/week0.yaml to week4.yaml: what, why, how, what one sees, and what proves it."""

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from megatron_recipe.both_languages import Text
from megatron_recipe.month.month_file import Month
from megatron_recipe.settings import Section, parse

WEEKS = Path(__file__).parent / "weeks"


class Task(Section):
    """One task or deliverable."""

    id: str = Field(pattern="^[a-z0-9-]+$")
    """Its name for --done and in month.yaml."""
    kind: Literal["task", "deliverable"] = "task"
    """A deliverable is what the week leaves behind."""
    day: int = Field(ge=1, le=30)
    """Day of a plan of 30 days on which it is due."""
    title: Text
    """What is done."""
    why: Text
    """Why it matters."""
    commands: list[str] = Field(default_factory=list)
    """What to type; `filled` says what may stand in braces."""
    on_platform: dict[str, Text] = Field(default_factory=dict)
    """What is different on each platform."""
    see: Text
    """What one should see."""
    minutes: float = Field(gt=0)
    """Time it takes, at the keyboard or of the machine."""
    gpu_hours: float = Field(default=0.0, ge=0)
    """GPU time of it, at the plan's sizes on one H100."""
    evidence: list[str] = Field(default_factory=list)
    """What must be found: names of recognisers, with an argument after a colon."""
    needs_gpu: bool = False
    """Its evidence can only come from a GPU."""
    said: Text | None = None
    """What the user says with --done, where a part of the task leaves no file."""
    tests: list[str] = Field(min_length=1)
    """Tests that ran its commands and its recognisers: file, or file::function."""


class Week(Section):
    """One stage of the plan."""

    title: Text
    """What it is about."""
    tasks: list[Task]
    """In the order in which they are done."""


@cache
def weeks() -> tuple[Week, ...]:
    """All stages, week 0 first."""
    files = sorted(WEEKS.glob("week*.yaml"))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple(
        parse(Week, yaml.load(file.read_text(encoding="utf-8"), Loader=loader), str(file), "week") for file in files
    )


def all_tasks() -> list[Task]:
    """The tasks of all stages, in their order."""
    return [task for week in weeks() for task in week.tasks]


def commands_of(task: Task, month: Month, lang: str) -> list[str]:
    """What to type, with the names and the scale of this month."""
    return [filled(command, month, lang) for command in task.commands]


def filled(text: str, month: Month, lang: str) -> str:
    """A text of a task with the names of this month in the places of {dataset}, {small}, {big} and so on."""
    miniature = month.scale == "miniature"
    values = {
        "dataset": month.dataset.as_posix(),
        "small": month.small,
        "big": month.big,
        "small_recipe": "gpt_tiny_cpu" if miniature else "gpt_100m",
        "big_recipe": "gpt_tiny_cpu" if miniature else "gpt_1b",
        "price": f"{month.price_per_hour:g}{month.currency}/h" if month.price_per_hour else "PRICE/h",
        "lang": "--lang zh" if lang == "zh" else "",
    }
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text.strip()
