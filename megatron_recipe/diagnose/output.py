"""What is printed: a table of all checks with what is wrong explained above it, or JSON."""

import math
from dataclasses import asdict
from types import ModuleType
from typing import Any

from megatron_recipe.diagnose import of_course, of_machine, of_model, of_safety
from megatron_recipe.diagnose.criteria import Result
from megatron_recipe.diagnose.criterion import GROUPS, Evidence
from megatron_recipe.diagnose.signals import Signals
from megatron_recipe.diagnose.strings import CHECKS, METRICS, PAGES
from megatron_recipe.diagnose.strings.words import CheckWords

WIDTH_OF_A_FILE = 140
COLOURS = {"wrong": "bold red", "attention": "yellow", "ok": "green", "not measured": "dim"}


def limits() -> dict[str, float]:
    """The limits of all checks by the names that they have in the code, for the words."""
    modules: tuple[ModuleType, ...] = (of_course, of_model, of_machine, of_safety)
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int | float)
    }


def words_of(name: str, lang: str) -> CheckWords:
    """The words of a check with its limits filled in."""
    words, known = CHECKS[lang][name], limits()
    return CheckWords(**{field: text.format(**known) for field, text in asdict(words).items()})


def exit_code(results: list[Result]) -> int:
    """1 where something is wrong, else 0: what asks for attention does not wake anybody at night."""
    return int(any(result.finding.state == "wrong" for result in results))


def as_values(signals: Signals, results: list[Result], lang: str) -> dict[str, Any]:
    """All of it as plain values, for JSON; what is no number is text there."""
    return {
        "run": str(signals.facts.folder),
        "step": signals.step,
        "healthy": exit_code(results) == 0,
        "first": next((one.criterion.name for one in results if one.finding.state in ("wrong", "attention")), None),
        "checks": [
            {
                "name": one.criterion.name,
                "group": one.criterion.group,
                "state": one.finding.state,
                "title": words_of(one.criterion.name, lang).title,
                "evidence": [_plain(seen) for seen in one.finding.evidence],
                "notes": [PAGES[lang][f"note.{note}"] for note in one.finding.notes],
                **_advice(one, lang),
            }
            for one in results
        ],
    }


def _advice(result: Result, lang: str) -> dict[str, str]:
    if result.finding.state not in ("wrong", "attention"):
        return {}
    words = words_of(result.criterion.name, lang)
    return {"causes": words.causes, "checks": words.checks, "remedies": words.remedies}


def _plain(seen: Evidence) -> dict[str, Any]:
    value = asdict(seen)
    if isinstance(seen.value, float) and not math.isfinite(seen.value):
        value["value"] = str(seen.value)
    return value


def evidence_words(seen: Evidence, lang: str) -> str:
    """`update_ratio 0.33 (limit ≤ 0.2), step 5`"""
    page = PAGES[lang]
    value = seen.value if isinstance(seen.value, str) else number(seen.value)
    text = f"{METRICS[lang].get(seen.metric, seen.metric)} {value}"
    if seen.limit:
        text += page["limit"].format(limit=seen.limit)
    if seen.first_step is None:
        return text
    single = seen.last_step is None or seen.last_step == seen.first_step
    where = page["at.step" if single else "at.steps"].format(first=seen.first_step, last=seen.last_step)
    return f"{text}{page['comma']}{where}"


def number(value: float) -> str:
    """Three digits; whole numbers as they are."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def print_results(signals: Signals, results: list[Result], lang: str) -> None:
    """Print to standard output: a verdict, what is wrong with its causes and remedies, and the table of all checks."""
    from rich.console import Console
    from rich.padding import Padding

    page, console, facts = PAGES[lang], Console(highlight=False, markup=False), signals.facts
    if not console.is_terminal:
        console.width = WIDTH_OF_A_FILE
    states = [one.finding.state for one in results]
    life, steps = page[f"life.{signals.last_life}"], signals.setting("train", "steps", 0)
    console.print(page["heading"].format(run=facts.folder, step=signals.step, steps=steps, life=life))
    if facts.lines > facts.read:
        console.print(page["read"].format(read=facts.read, lines=facts.lines))
    worst = next(state for state in ("wrong", "attention", "ok") if state in states or state == "ok")
    counts = {"wrong": states.count("wrong"), "attention": states.count("attention")}
    first = words_of(results[0].criterion.name, lang).title
    console.print(page[f"verdict.{worst}"].format(first=first, **counts), style=COLOURS[worst])
    for place, one in enumerate((one for one in results if one.finding.state in ("wrong", "attention")), start=1):
        words, state = words_of(one.criterion.name, lang), one.finding.state
        console.print(f"\n{place}. {words.title} [{page[f'state.{state}']}]", style=COLOURS[state])
        lines = [words.phenomenon, *(f"· {evidence_words(seen, lang)}" for seen in one.finding.evidence)]
        lines += [f"→ {page[f'note.{note}']}" for note in one.finding.notes]
        lines += [f"{page[name]}{page['colon']}{getattr(words, name)}" for name in ("causes", "checks", "remedies")]
        console.print(Padding("\n".join(lines), (0, 0, 0, 3)))
    console.print()
    console.print(_table(results, lang))


def _table(results: list[Result], lang: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    page, table = PAGES[lang], Table(box=None, pad_edge=False)
    for column in ("check", "state", "evidence"):
        table.add_column(page[f"column.{column}"])
    for group in GROUPS:
        table.add_row(Text(page[f"group.{group}"], style="bold"))
        for one in (one for one in results if one.criterion.group == group):
            state, evidence = one.finding.state, one.finding.evidence
            seen = evidence_words(evidence[0], lang) if evidence else ""
            title = f"  {words_of(one.criterion.name, lang).title}"
            table.add_row(Text(title), Text(page[f"state.{state}"], style=COLOURS[state]), Text(seen))
    return table
