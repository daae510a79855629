"""The summary of the lab: what was seen, what to hold to, and how to find a cause, each with its evidence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megatron_recipe import __version__
from megatron_recipe.diagnose.criteria import CRITERIA
from megatron_recipe.diagnose.criterion import GROUPS
from megatron_recipe.diagnose.output import words_of
from megatron_recipe.diagnose.strings import PAGES as DIAGNOSE
from megatron_recipe.files import atomic_file, write_json
from megatron_recipe.lab.incident_page import PAGES
from megatron_recipe.lab.incident_wording import ratio_text, told
from megatron_recipe.lab.incident_words import WORDS
from megatron_recipe.languages import LANGUAGES
from megatron_recipe.report.document import Block, Cell, Document, Facts, Paragraph, Section, Table
from megatron_recipe.report.document_files import now
from megatron_recipe.report.document_page import render_document
from megatron_recipe.report.formats import integer, when
from megatron_recipe.report.markdown import render_markdown

SUMMARIES = {"en": "summary.html", "zh": "summary.zh.html"}
MARKDOWN = {"en": "summary.md", "zh": "summary.zh.md"}
RESULT = "summary.json"
Values = dict[str, Any]


def write_summary(results: Sequence[Values], folder: Path, lang: str) -> Path:
    """Write the summary of all incidents below `folder` in both languages, and summary.json; returns the page's path.

    Args:
        results: of incident.json, each.
        lang: of the page whose path is returned.
    """
    entries = [
        {
            "name": one["name"],
            "verdict": one["verdict"],
            "control_seen": one["runs"]["control"]["seen"],
            "remedy_seen": one["runs"]["remedy"]["seen"],
            "remedy": one["remedy"],
            "diagnosis": one["runs"]["incident"]["diagnosis"],
            "control_diagnosis": one["runs"]["control"]["diagnosis"],
        }
        for one in results
    ]
    write_json(folder / RESULT, {"incidents": entries})
    written = now()
    for language in LANGUAGES:
        document = summary_document(results, language, written)
        texts = {SUMMARIES[language]: render_document(document), MARKDOWN[language]: render_markdown(document)}
        for name, text in texts.items():
            with atomic_file(folder / name) as file:
                file.write(text)
    return folder / SUMMARIES[lang]


def summary_document(results: Sequence[Values], lang: str, written: str) -> Document:
    """The document of all incidents. `written`: the time now, ISO 8601."""
    words = WORDS[lang]
    parts: list[tuple[str, list[Block]]] = [
        ("incidents", [incident_table(results, lang)]),
        ("practices", [practice_table(results, lang), Paragraph(words["all.practices.note"], "small")]),
        ("diagnosis", [Paragraph(words["all.diagnosis.note"], "small"), *diagnosis_tables(results, lang)]),
        ("origin", [_origin(results, lang)]),
    ]
    return Document(
        lang=lang,
        kind=words["all.kind"],
        title=words["all.title"],
        lede=words["all.lede"].format(seen=sum(one["verdict"] == "seen" for one in results), incidents=len(results)),
        sections=tuple(Section(name, words[f"all.{name}"], tuple(blocks)) for name, blocks in parts),
        footer=words["footer"].format(version=__version__, time=when(written)),
        page_file=SUMMARIES[lang],
    )


def incident_table(results: Sequence[Values], lang: str) -> Table:
    """Each incident with what was seen in its three runs."""
    words = WORDS[lang]
    head = ("incident", "verdict", "control", "remedy", "ratio", "first")
    rows = []
    for one in results:
        runs, remedy = one["runs"], one["remedy"]
        tone = "good" if remedy["recovered"] else "bad" if remedy["recovers"] and remedy["recovered"] is False else ""
        named = runs["incident"]["diagnosis"]
        rows.append(
            (
                Cell(told(one["incident"]["title"], lang), link=link(one, lang)),
                Cell(words[f"verdict.{one['verdict']}"], strong=one["verdict"] == "seen"),
                _seen_cell(runs["control"]["seen"], words),
                _seen_cell(runs["remedy"]["seen"], words),
                Cell(ratio_text(remedy["loss_over_control"]) if remedy["recovers"] else "–", tone=tone),
                Cell(words_of(named[0], lang).title if named else words["nothing"]),
            )
        )
    return Table(tuple(words[f"all.{name}"] for name in head), tuple(rows), numbers_from=len(head))


def practice_table(results: Sequence[Values], lang: str) -> Table:
    """What each incident teaches, and what mends it."""
    words = WORDS[lang]
    rows = []
    for one in results:
        file = one["incident"]
        note = "" if one["verdict"] == "seen" else words["all.not_seen"]
        practice = words["page.gap"].join(told(text, lang) for text in (file["remedy"]["text"], file["learned"]))
        rows.append((Cell(told(file["title"], lang), note=note, link=link(one, lang)), Cell(practice)))
    head = (words["all.incident"], words["all.practice"])
    return Table(head, tuple(rows), numbers_from=len(head))


def diagnosis_tables(results: Sequence[Values], lang: str) -> list[Table]:
    """Phenomenon → causes → checks → remedies of all checks of `diagnose`, a table for each group."""
    words = WORDS[lang]
    head = tuple(words[f"all.{name}"] for name in ("phenomenon", "causes", "checks", "remedies", "evidence"))
    tables = []
    for group in GROUPS:
        rows = []
        for criterion in sorted(CRITERIA, key=lambda one: -one.rank):
            if criterion.group == group:
                said = words_of(criterion.name, lang)
                texts = (said.causes, said.checks, said.remedies)
                first = Cell(said.title, note=said.phenomenon)
                rows.append((first, *(Cell(text) for text in texts), _evidence(results, criterion.name, lang)))
        tables.append(Table(head, tuple(rows), numbers_from=len(head), caption=DIAGNOSE[lang][f"group.{group}"]))
    return tables


def link(result: Values, lang: str) -> str:
    """Address of an incident's page, from the summary."""
    return f"{result['name']}/{PAGES[lang]}"


def _evidence(results: Sequence[Values], check: str, lang: str) -> Cell:
    """The incident in which the check fired: one that it is the criterion of, before others."""
    fired = [one for one in results if check in one["runs"]["incident"]["diagnosis"]]
    fired.sort(key=lambda one: one["runs"]["incident"]["diagnosis"].index(check))
    if not fired:
        return Cell("–")
    others = WORDS[lang]["semicolon"].join(told(one["incident"]["title"], lang) for one in fired[1:3])
    return Cell(told(fired[0]["incident"]["title"], lang), note=others, link=link(fired[0], lang))


def _seen_cell(seen: bool | None, words: dict[str, str]) -> Cell:
    return Cell(None if seen is None else words["verdict.seen" if seen else "all.no"])


def _origin(results: Sequence[Values], lang: str) -> Facts:
    words, first = WORDS[lang], results[0]
    hardware = dict.fromkeys(one["hardware"] for one in results if one["hardware"])
    rows = [
        ("command", Cell(first["command"], code=True)),
        ("recipe", Cell(first["recipe"])),
        ("seed", Cell(str(first["seed"]))),
        ("tokens", Cell(integer(first["tokens_per_run"]))),
        ("hardware", Cell(words["semicolon"].join(hardware) or None)),
        ("version", Cell(first["version"])),
        ("updated", Cell(when(first["updated"]))),
    ]
    return Facts(tuple((words[f"origin.{name}"], cell) for name, cell in rows))
