"""The command `today`: reads and writes month.yaml, looks for evidence, prints. cli.py registers it."""

from pathlib import Path
from typing import Annotated

import typer


def today(
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    folder: Annotated[Path, typer.Option(help="Your folder, with runs/, datasets/ and the others.")] = Path(),
    show_all: Annotated[bool, typer.Option("--all", help="The whole ledger, every task with its evidence.")] = False,
    quiz: Annotated[
        bool, typer.Option("--quiz", help="Interview questions on your own numbers: quiz.md and quiz.html.")
    ] = False,
    done: Annotated[
        str | None, typer.Option(metavar="TASK", help="Your word that a task is done that leaves no file.")
    ] = None,
    begins: Annotated[str | None, typer.Option(metavar="DATE", help="First day of the plan, 2026-11-25.")] = None,
    ends: Annotated[str | None, typer.Option(metavar="DATE", help="Its last day; 30 days where none is given.")] = None,
    budget: Annotated[str | None, typer.Option(help="Money for the month: 4000cny, 600usd.")] = None,
    price: Annotated[str | None, typer.Option(help="Of one rented GPU: 14.5/h, 2.5usd/h.")] = None,
    platform: Annotated[str | None, typer.Option(help="Where the GPUs are: autodl, runpod, lambda or own.")] = None,
    scale: Annotated[
        str | None, typer.Option(help="full, or miniature: the plan on a CPU with models of any size.")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="The dataset of weeks 2 to 4; default datasets/main.")] = None,
    small: Annotated[str | None, typer.Option(metavar="NAME", help="The 100M-300M run: runs/NAME.")] = None,
    big: Annotated[str | None, typer.Option(metavar="NAME", help="The 1B run: runs/NAME.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ledger as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look and print; write no file.")] = False,
) -> None:
    """Say the task of the day: why, what to type, what one sees, what proves it; and what is left of time and money.

    What is done is found in your folder by itself. month.yaml there keeps dates, money and your word.
    """
    from megatron_recipe.month.show import Asked, show

    values = {
        "begins": begins,
        "ends": ends,
        "platform": platform,
        "scale": scale,
        "dataset": dataset,
        "small": small,
        "big": big,
    }
    show(Asked(lang, folder, show_all, quiz, as_json, dry_run, done, budget, price, values))
