"""What a comparison prints: the plan before it, the table and the conclusions after it."""

from typing import Any

from rich.console import Console
from rich.table import Table

from megatron_recipe.budget import SECONDS_PER_HOUR
from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.lab.machine import Machine, run_seconds
from megatron_recipe.lab.plan import Plan, flat
from megatron_recipe.lab.wording import conclusion_text, duration_text, summary_text
from megatron_recipe.lab.words import WORDS

NARROW = 6


def print_plan(plan: Plan, facts: list[DatasetFacts], machine: Machine, lang: str) -> None:
    """The settings, what they change, and what the runs may take."""
    words, console = WORDS[lang], Console()
    title = getattr(plan.comparison.title, lang) or plan.comparison.name
    tokens = plan.comparison.tokens_per_run
    place = words["on_gpus"] if machine.hardware else words["on_cpu"]
    card = machine.hardware.card if machine.hardware else ""
    where = place.format(at_once=machine.at_once, threads=machine.threads, card=card)
    console.print(
        words["planned"].format(title=title, runs=len(plan.runs), tokens=tokens, machine=where, folder=plan.folder),
        soft_wrap=True,
        highlight=False,
    )
    table = Table()
    for name in ("setting", "changes", "seeds", "steps", "epochs", "time"):
        table.add_column(words[name], justify="left" if name in ("setting", "changes") else "right")
    times = {run.number: _seconds(plan, run.number, facts, machine) for run in plan.runs}
    for setting in plan.comparison.settings:
        runs = plan.of(setting.label)
        seconds = times[runs[0].number]
        table.add_row(
            setting.label,
            _changes(plan, runs[0].number),
            ", ".join(str(run.seed) for run in runs),
            f"{runs[0].config.train.steps:,}",
            f"{_epochs(plan, runs[0].number, facts):.1f}",
            duration_text(seconds, words) if seconds else "–",
        )
    console.print(table)
    console.print(_estimate(plan, list(times.values()), machine, lang), soft_wrap=True)


def _changes(plan: Plan, number: int) -> str:
    """The changed fields of a run, with datasets by their folders."""
    values = flat(plan.runs[number].config)
    parts = []
    for name in plan.changed:
        value = values.get(name)
        if name == "data.datasets" and isinstance(value, list):
            value = ", ".join(f"{entry['path']} × {entry['weight']:g}" for entry in value)
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(f"{name.split('.')[-1]} {shown}")
    return "\n".join(parts)


def _epochs(plan: Plan, number: int, facts: list[DatasetFacts]) -> float:
    """How often the most repeated dataset of a run is read."""
    known = {str(fact.folder): fact.tokens("train") for fact in facts}
    datasets = plan.runs[number].config.data.datasets
    total = sum(entry.weight for entry in datasets)
    tokens = plan.comparison.tokens_per_run or 0
    return max(tokens * entry.weight / total / known[entry.path] for entry in datasets)


def _seconds(plan: Plan, number: int, facts: list[DatasetFacts], machine: Machine) -> float | None:
    config = plan.runs[number].config
    vocabulary = config.model.vocab_size or facts[0].vocab_size
    return run_seconds(config, vocabulary, plan.comparison.tokens_per_run or 0, machine)


def _estimate(plan: Plan, seconds: list[float | None], machine: Machine, lang: str) -> str:
    words = WORDS[lang]
    if any(one is None for one in seconds):
        return words["unknown_time"]
    total = sum(one or 0.0 for one in seconds) / machine.at_once
    budget = plan.runs[0].config.budget
    cost = f"{total / SECONDS_PER_HOUR * budget.price_per_hour:,.2f}"
    priced = words["cost_of"].format(cost=cost, currency=budget.currency.upper()) if budget.price_per_hour else ""
    return words["estimate"].format(time=duration_text(total, words), cost=priced)


def print_result(result: dict[str, Any], lang: str) -> None:
    """The table of what was measured, and the conclusions."""
    words, console = WORDS[lang], Console()
    measures = [
        name for name in result["measures"] if any(setting["summary"].get(name) for setting in result["settings"])
    ]
    rows = [[words["setting"], words["runs"], *(_heading(name, result, lang) for name in measures)]]
    for setting in result["settings"]:
        finished = sum(run["state"] == "finished" for run in setting["runs"])
        cells = [summary_text(setting["summary"].get(name)) for name in measures]
        rows.append([setting["label"], f"{finished}/{len(setting['runs'])}", *cells])
    if len(rows) <= NARROW:  # few settings and many measures: the measures go down the page
        rows = [list(column) for column in zip(*rows, strict=True)]
    table = Table(title=result["title"][lang] or result["name"])
    for position, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if position else "left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
    for conclusion in result["conclusions"]:
        console.print(conclusion_text(conclusion, result, lang), soft_wrap=True, highlight=False)
    console.print(words["confidence"].format(percent=100 * result["confidence"]), soft_wrap=True, highlight=False)


def _heading(name: str, result: dict[str, Any], lang: str) -> str:
    """A measure's name with its unit; a named held-out set is called by its own."""
    measure, _, of = name.partition("/")
    unit = result["measures"][name]["unit"]
    word = f"{WORDS[lang][measure]} ({of})" if of else WORDS[lang][measure]
    return f"{word}, {unit}" if unit and measure not in ("tokens_per_second", "bits_per_byte") else word
