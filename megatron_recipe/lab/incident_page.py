"""An incident's page and its record: the same document, as HTML with figures and as Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megatron_recipe import __version__
from megatron_recipe.diagnose.output import words_of
from megatron_recipe.files import atomic_file
from megatron_recipe.lab.incident_figures import (
    FOLDER,
    Drawn,
    dashes_of,
    draw,
    read_plots,
    write_pictures,
)
from megatron_recipe.lab.incident_measures import NUMBERS
from megatron_recipe.lab.incident_plan import ROLES
from megatron_recipe.lab.incident_wording import (
    accident_text,
    condition_name,
    evidence_text,
    figure_name,
    is_measured,
    number_text,
    ratio_text,
    setting_text,
    state_text,
    told,
    value_text,
)
from megatron_recipe.lab.incident_words import WORDS
from megatron_recipe.languages import LANGUAGES
from megatron_recipe.report.comparison_figures import colour_of
from megatron_recipe.report.document import Block, Cell, Document, Facts, Figure, KeyEntry, Paragraph, Section, Table
from megatron_recipe.report.document_files import now
from megatron_recipe.report.document_page import render_document
from megatron_recipe.report.formats import integer, when
from megatron_recipe.report.markdown import render_markdown

PAGES = {"en": "page.html", "zh": "page.zh.html"}
RECORDS = {"en": "record.md", "zh": "record.zh.md"}
Values = dict[str, Any]
Dictionary = dict[str, str]


def write_pages(result: Values, folder: Path) -> list[Path]:
    """Write page, record and pictures of the incident in `folder`, in both languages; returns the pages' paths."""
    plots = read_plots({role: folder / result["runs"][role]["folder"] for role in ROLES}, asked_for(result))
    names = [path.name for path in write_pictures(plots, folder / FOLDER)]
    figures, written = draw(plots), now()
    for lang in LANGUAGES:
        record = incident_document(result, (), lang, written, names)  # the pictures are its figures
        page = incident_document(result, figures, lang, written, names)
        for name, text in ((RECORDS[lang], render_markdown(record)), (PAGES[lang], render_document(page))):
            with atomic_file(folder / name) as file:
                file.write(text)
    return [folder / PAGES[lang] for lang in LANGUAGES]


def asked_for(result: Values) -> set[str]:
    """Names of the criterion's checks, and of the fields that it rests on."""
    criterion = result["incident"]["criterion"]
    evidence = [seen["metric"] for held in result["runs"]["incident"]["criterion"] for seen in held["evidence"]]
    fields = [one["measure"].rpartition(".")[0] for one in criterion if one["measure"]]
    return {*fields, *evidence, *(name for one in criterion for name in one["checks"])}


def incident_document(
    result: Values, figures: Sequence[Drawn], lang: str, written: str, pictures: Sequence[str]
) -> Document:
    """The document of what incident.json holds.

    Args:
        written: the time now, ISO 8601.
        pictures: names of the PNG files.
    """
    words, file = WORDS[lang], result["incident"]
    sections: list[tuple[str, list[Block]]] = [
        ("verdict", verdict_blocks(result, lang)),
        ("phenomenon", [Paragraph(told(file["phenomenon"], lang)), *_figures(figures, lang)]),
        ("numbers", _numbers(result, lang)),
        ("cause", [Paragraph(told(file["cause"], lang))]),
        ("remedy", [Paragraph(told(file["remedy"]["text"], lang)), *_changes(result, lang), *_recovery(result, words)]),
        ("learned", [Paragraph(told(file["learned"], lang), "result")]),
        ("origin", [_origin(result, words, pictures)]),
    ]
    return Document(
        lang=lang,
        kind=words["kind"],
        title=told(file["title"], lang),
        lede=words["lede"]
        .format(
            phenomenon="",
            recipe=result["recipe"],
            seed=result["seed"],
            tokens=integer(result["tokens_per_run"]),
        )
        .strip(),
        sections=tuple(Section(name, words[f"section.{name}"], tuple(blocks)) for name, blocks in sections),
        footer=words["footer"].format(version=__version__, time=when(written)),
        page_file=PAGES[lang],
    )


def verdict_blocks(result: Values, lang: str) -> list[Block]:
    """What was seen, in whom, by which figures."""
    words, verdict = WORDS[lang], result["verdict"]
    said = [words[f"why.{verdict}"]]
    if verdict == "seen":
        said.append(_first_evidence(result, lang))
    if verdict in ("not seen", "needs a gpu"):
        said.append(words["why.seen_at"].format(text=told(result["incident"]["seen_at"], lang)))
    blocks: list[Block] = [Paragraph(words["page.gap"].join(said), "result" if verdict == "seen" else "missing")]
    control = result["runs"]["control"]["seen"]
    if control is not None:
        blocks.append(Paragraph(words["control.seen" if control else "control.not seen"]))
    blocks += _recovery(result, words)
    if result["runs"]["incident"]["criterion"]:
        blocks += [criterion_table(result, lang), Paragraph(words["criterion.note"], "small")]
    names = result["runs"]["incident"]["diagnosis"]
    titles = words["semicolon"].join(words_of(name, lang).title for name in names[:3])
    if result["runs"]["incident"]["state"] != "not run":
        blocks.append(
            Paragraph(words["diagnosis.of"].format(names=titles) if names else words["diagnosis.none"]),
        )
    return blocks


def criterion_table(result: Values, lang: str) -> Table:
    """Conditions against runs, with the figures that each rests on."""
    words, runs = WORDS[lang], result["runs"]
    rows = []
    for place, condition in enumerate(result["incident"]["criterion"]):
        cells = [Cell(condition_name(condition, lang))]
        for role in ROLES:
            said = runs[role]["criterion"]
            held = said[place] if place < len(said) else {"holds": None, "evidence": []}
            cells.append(_held_cell(held, lang))
        rows.append(tuple(cells))
    head = (words["criterion"], *(words[role] for role in ROLES))
    return Table(head, tuple(rows), numbers_from=len(head), name="criterion")


def _held_cell(held: Values, lang: str) -> Cell:
    if held["holds"] is None:
        return Cell(None)
    judged = [seen for seen in held["evidence"] if seen["limit"]]  # the others only go with them
    shown = [evidence_text(seen, lang) for seen in judged[:2]]
    words = WORDS[lang]
    state = words["holds" if held["holds"] else "holds not"]
    return Cell(words["semicolon"].join(shown) or state, note=state if shown else "", strong=bool(held["holds"]))


def _first_evidence(result: Values, lang: str) -> str:
    """The first figure of the criterion that was measured, in the incident and, where it has one, in the control."""
    words, runs = WORDS[lang], result["runs"]
    found = []
    for place, held in enumerate(runs["incident"]["criterion"]):
        healthy = {seen["metric"]: seen["value"] for seen in runs["control"]["criterion"][place]["evidence"]}
        found += [(seen, healthy.get(seen["metric"])) for seen in held["evidence"] if is_measured(seen)]
    found.sort(key=lambda one: one[1] is None)
    if not found:
        return ""
    seen, value = found[0]
    beside = "" if value is None else words["beside"].format(value=value_text(value))
    return words["evidence"].format(evidence=evidence_text(seen, lang), beside=beside)


def _recovery(result: Values, words: Dictionary) -> list[Block]:
    remedy, run = result["remedy"], result["runs"]["remedy"]
    if run["state"] == "not run":
        return []
    said = [words["remedy.same"]] if run["folder"] == result["runs"]["control"]["folder"] else []
    ratio = remedy["loss_over_control"]
    if not remedy["recovers"]:
        said.append(words["remedy.not expected"])
    elif ratio is None:
        said.append(words["remedy.unmeasured"])
    else:
        key = "remedy.recovered" if remedy["recovered"] else "remedy.not recovered"
        said.append(words[key].format(ratio=ratio_text(ratio), limit=f"{remedy['limit']:g}"))
        if isinstance(ratio, float) and ratio < 1 - (remedy["limit"] - 1):
            said.append(words["remedy.better"])
    if run["seen"] is not None:
        said.append(words["remedy.seen" if run["seen"] else "remedy.not seen"])
    return [Paragraph(words["page.gap"].join(said))]


def _figures(figures: Sequence[Drawn], lang: str) -> list[Block]:
    words = WORDS[lang]
    blocks: list[Block] = []
    for drawn in figures:
        plot = drawn.plot
        key = tuple(
            KeyEntry(words[role], colour_of(number), dashes_of(role))
            for number, role in enumerate(ROLES)
            if role in plot.curves
        )
        notes = [words["gone"]] if plot.ends else []
        notes += [words["lost"].format(run=words[role]) for role in plot.lost]
        caption = words[f"plot.{plot.name}"]
        blocks.append(Figure(caption, drawn.wide, drawn.narrow, words["across"], key, words["page.gap"].join(notes)))
    return blocks


def _numbers(result: Values, lang: str) -> list[Block]:
    words, runs = WORDS[lang], result["runs"]
    rows = [(Cell(words["state"]), *(Cell(state_text(runs[role], words)) for role in ROLES))]
    for name in NUMBERS:
        values = [runs[role]["numbers"].get(name) for role in ROLES]
        if any(value is not None for value in values):
            rows.append((Cell(figure_name(name, lang)), *(Cell(number_text(value)) for value in values)))
    diagnosed = [[words_of(name, lang).title for name in runs[role]["diagnosis"]] for role in ROLES]
    said = (Cell(words["semicolon"].join(titles) or words["nothing"]) for titles in diagnosed)
    rows.append((Cell(words["diagnosis"]), *said))
    head = (words["figure"], *(words[role] for role in ROLES))
    return [Table(head, tuple(rows), numbers_from=len(head)), Paragraph(words["numbers.note"], "small")]


def _changes(result: Values, lang: str) -> list[Block]:
    words, runs = WORDS[lang], result["runs"]
    names = sorted({name for role in ("incident", "remedy") for name in runs[role]["settings"]})
    rows = []
    for name in names:
        pairs = {role: runs[role]["settings"].get(name) for role in ("incident", "remedy")}
        healthy = next(pair[0] for pair in pairs.values() if pair)
        shown = [pair[1] if pair else healthy for pair in pairs.values()]
        rows.append((Cell(name, code=True), *(Cell(setting_text(value)) for value in (healthy, *shown))))
    accidents = {role: "\n".join(map(accident_text, runs[role]["accidents"])) for role in ROLES}
    if any(accidents.values()):
        rows.append((Cell(words["accident"]), *(Cell(accidents[role] or "–") for role in ROLES)))
    head = (words["setting"], *(words[role] for role in ROLES))
    table = Table(head, tuple(rows), numbers_from=len(head), caption=words["changed"])
    return [*([table] if rows else []), Paragraph(words["guard"], "small")]


def _origin(result: Values, words: Dictionary, pictures: Sequence[str]) -> Facts:
    rows = [
        ("command", Cell(result["command"], code=True)),
        ("recipe", Cell(result["recipe"])),
        ("seed", Cell(str(result["seed"]))),
        ("tokens", Cell(integer(result["tokens_per_run"]))),
        ("hardware", Cell(result["hardware"])),
        ("version", Cell(result["version"])),
        ("started", Cell(when(result["started"]))),
        ("updated", Cell(when(result["updated"]))),
        ("pictures", Cell(", ".join(f"{FOLDER}/{name}" for name in pictures) or None)),
    ]
    return Facts(tuple((words[f"origin.{name}"], cell) for name, cell in rows))
