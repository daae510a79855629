"""What `megatron-recipe today` does."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from megatron_recipe.console import say
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.languages import require_language
from megatron_recipe.month.folder import NOTES, Folder
from megatron_recipe.month.ledger import Ledger
from megatron_recipe.month.month_file import NAME, Month, changed, read_month, write_month
from megatron_recipe.month.of_model import QUIZ
from megatron_recipe.month.output import Page, as_values
from megatron_recipe.month.quiz import questions
from megatron_recipe.month.strings import LEDGER
from megatron_recipe.month.tasks import all_tasks
from megatron_recipe.settings import suggestion


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line."""

    lang: str
    folder: Path
    show_all: bool
    quiz: bool
    as_json: bool
    dry_run: bool
    done: str | None
    budget: str | None
    price: str | None
    values: dict[str, Any]
    """Fields of month.yaml to change; None leaves one."""


def show(asked: Asked, today: date | None = None) -> None:
    """Update month.yaml, look for evidence, and print what was asked for.

    Args:
        today: the day; None is this one.

    Raises:
        ConfigError: an unknown language, task or value, or a month.yaml that cannot be used.
        DataError: there is no such folder.
    """
    require_language(asked.lang)
    if not asked.folder.is_dir():
        raise DataError(f"--folder {asked.folder}: there is no such folder; make it, or go where your runs/ are")
    if asked.quiz and asked.show_all:
        raise ConfigError("--quiz and --all print different things: give one of them")
    day = today or date.today()
    month = _month(asked, day)
    if not asked.dry_run:
        _keep(month, asked, day)
    ledger = Ledger(Folder(asked.folder, month), day)
    if asked.as_json:
        print(json.dumps(as_values(ledger, asked.lang), ensure_ascii=False, indent=1))
        return
    page = Page(ledger, asked.lang)
    if asked.quiz:
        _quiz(asked, ledger, page)
    elif asked.show_all:
        page.all()
    else:
        page.today()


def _month(asked: Asked, day: date) -> Month:
    """The month with what the options change."""
    month, values = read_month(asked.folder, day), dict(asked.values)
    if asked.budget or asked.price:
        from megatron_recipe.budget import parse_budget, parse_price

        if asked.price:
            values |= parse_price(asked.price)
        if asked.budget:
            amount = parse_budget(asked.budget)
            if amount["unit"] not in ("cny", "usd"):
                raise ConfigError(f"--budget {asked.budget}: the month's budget is money, such as 4000cny or 600usd")
            if asked.price and amount["unit"] != values["currency"]:
                raise ConfigError(
                    f"--budget {asked.budget} and --price {asked.price} are in two currencies; give both in one"
                )
            values |= {"budget": amount["amount"], "currency": amount["unit"]}
    if asked.done:
        values["said"] = {**month.said, _task_to_say(asked.done): day}
    return changed(month, values)


def _task_to_say(name: str) -> str:
    """The task that the user says is done. Raises ConfigError for one that is unknown, or that is found by itself."""
    tasks = {task.id: task for task in all_tasks()}
    sayable = [task.id for task in tasks.values() if task.said]
    if name not in tasks:
        raise ConfigError(f"--done {name}: no such task{suggestion(name, list(tasks))}; --all lists them")
    if tasks[name].said is None:
        raise ConfigError(
            f"--done {name}: this task is done when its evidence is found ({', '.join(tasks[name].evidence)}); "
            f"a word is taken for {', '.join(sayable)}"
        )
    return name


def _keep(month: Month, asked: Asked, day: date) -> None:
    """Write month.yaml where it is new or has changed, and the folder that commands write their JSON into."""
    path = asked.folder / NAME
    new = not path.is_file()
    if new or month != read_month(asked.folder, day):
        write_month(month, asked.folder)
    (asked.folder / NOTES).mkdir(exist_ok=True)
    if new:
        say(LEDGER[asked.lang]["began"].format(path=path))


def _quiz(asked: Asked, ledger: Ledger, page: Page) -> None:
    asked_for = questions(ledger, asked.lang)
    target = asked.folder / QUIZ
    if asked_for and not asked.dry_run:
        from megatron_recipe.month.quiz_page import write_quiz

        write_quiz(asked_for, target.with_suffix(".html"), asked.lang)
    page.quiz(asked_for, str(target))
