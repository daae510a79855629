"""The comparison's report: the question, the answer that was computed, one table, the curves and the differences."""

from megatron_recipe import __version__
from megatron_recipe.report.comparison_curves import SettingCurve, setting_curves
from megatron_recipe.report.comparison_figures import (
    MAX_PAIRS,
    colour_of,
    dashes_of,
    draw_curves,
    draw_differences,
    token_unit,
)
from megatron_recipe.report.comparison_file import FINISHED, Comparison, OneRun, Pair, Record, Setting
from megatron_recipe.report.comparison_words import amount, conclusion, measure_name, override_text, signed
from megatron_recipe.report.document import Block, Bullets, Cell, Document, Facts, Figure, KeyEntry, Paragraph, Section
from megatron_recipe.report.document import Table as Rows
from megatron_recipe.report.figures import NARROW, WIDE
from megatron_recipe.report.formats import integer, percent, visible, when
from megatron_recipe.report.words import Words

CURVES = ("train", "validation")
MAX_COLUMNS = 4
"""Settings that have a column each; more have a row each."""


def comparison_document(comparison: Comparison, lang: str, page_file: str, written: str) -> Document:
    """The whole report of `comparison`. `written`: the time now, ISO 8601."""
    words, facts = Words(lang), comparison.facts
    parts = [
        ("answer", _answer(comparison, words)),
        ("table", _table(comparison, words)),
        ("curves", _curves(comparison, words)),
        ("differences", _differences(comparison, words)),
        ("missing", _missing(comparison, words)),
        ("settings", _settings(comparison, words)),
        ("origin", _origin(comparison, words)),
    ]
    return Document(
        lang=lang,
        kind=words("comparison.kind"),
        title=comparison.title(lang),
        lede=question(comparison, words),
        sections=tuple(Section(name, words(f"comparison.{name}"), tuple(blocks)) for name, blocks in parts),
        footer=words("comparison.footer", version=__version__, time=when(written), name=visible(facts["name"])),
        page_file=page_file,
    )


def question(comparison: Comparison, words: Words) -> str:
    """What was asked, from what the runs differ in and what they have in common."""
    facts = comparison.facts
    seeds, tokens = facts.get("seeds") or [], facts.get("tokens_per_run")
    asked = words(
        "comparison.question",
        fields=words.list([str(field) for field in facts.get("changed") or []]) or words("comparison.nothing"),
        settings=len(comparison.settings),
        recipe=facts.get("recipe") or words("not_measured"),
    )
    budget = words("comparison.tokens", tokens=integer(tokens)) if tokens else ""
    runs = words("comparison.seeds", seeds=len(seeds)) if seeds else ""
    parts = (comparison.text("why", words.lang), asked, budget, runs)
    return words("page.space").join(part for part in parts if part)


def conclusions(comparison: Comparison, words: Words) -> list[str]:
    """The conclusions of the file, worded."""
    return [conclusion(entry, comparison.measures, words) for entry in comparison.conclusions]


def _answer(comparison: Comparison, words: Words) -> list[Block]:
    found = [
        (entry["kind"], text)
        for entry, text in zip(comparison.conclusions, conclusions(comparison, words), strict=True)
    ]
    blocks: list[Block] = [
        Paragraph(text, "missing" if kind == "not_measured" else "result") for kind, text in found
    ] or [Paragraph(words("comparison.no_conclusion"), "missing")]
    expected = comparison.text("hypothesis", words.lang)
    if expected:
        blocks.append(Paragraph(words("comparison.hypothesis", hypothesis=expected)))
    confidence = comparison.facts.get("confidence")
    if any(kind != "not_measured" for kind, _ in found) and confidence:
        blocks.append(Paragraph(words("comparison.how", confidence=percent(confidence, 0)), "small"))
    done = sum(run.state == FINISHED for _, run in comparison.runs)
    if done < len(comparison.runs):
        blocks.append(Paragraph(words("comparison.unfinished", done=done, runs=len(comparison.runs)), "small"))
    return blocks


def _table(comparison: Comparison, words: Words) -> list[Block]:
    measures = list(comparison.measures)
    best = {measure: shown_best(comparison, measure) for measure in measures}
    grid = [
        [_cell(comparison, setting, measure, words, strong=best[measure] == setting.label) for measure in measures]
        for setting in comparison.settings
    ]
    labels = [setting.label for setting in comparison.settings]
    heads = [_head(comparison, measure, words) for measure in measures]
    corner = "comparison.setting"
    if len(labels) <= MAX_COLUMNS:  # then settings stand side by side, and a page is wide enough
        corner = "comparison.measure"
        grid, labels, heads = [list(column) for column in zip(*grid, strict=True)], heads, labels
    rows = tuple((Cell(label), *cells) for label, cells in zip(labels, grid, strict=True))
    table = Rows((words(corner), *heads), rows, numbers_from=1, name="outcome")
    notes = [words("comparison.table.note")]
    confidence = comparison.facts.get("confidence")
    spreads = [spread for setting in comparison.settings for spread in setting.summary.values()]
    if any(spread.low is not None for spread in spreads) and confidence:
        notes.append(words("comparison.table.intervals", confidence=percent(confidence, 0)))
    elif spreads:
        notes.append(words("comparison.table.no_intervals"))
    if any(best.values()):
        notes.append(words("comparison.table.best"))
    return [table, Paragraph(words("page.space").join(notes), "small")]


def shown_best(comparison: Comparison, measure: str) -> str | None:
    """The setting whose difference to every other one is shown, in the better direction; None where there is none."""
    sign = -1.0 if comparison.measures[measure].get("better") == "lower" else 1.0
    beaten: dict[str, set[str]] = {setting.label: set() for setting in comparison.settings}
    for pair in comparison.pairs:
        if pair.measure == measure and pair.is_shown:
            winner, loser = (pair.a, pair.b) if sign * pair.difference > 0 else (pair.b, pair.a)
            beaten.setdefault(winner, set()).add(loser)
    others = len(comparison.settings) - 1
    return next((label for label, losers in beaten.items() if others and len(losers) == others), None)


def _head(comparison: Comparison, measure: str, words: Words) -> str:
    name = measure_name(measure, words)
    target = comparison.facts.get("target_loss")
    if measure == "steps_to_target" and target is not None:
        name = words("comparison.target", name=name, loss=f"{target:g}")
    better = comparison.measures[measure].get("better")
    return f"{name} {({'lower': '↓', 'higher': '↑'}).get(str(better), '')}".strip()


def _cell(comparison: Comparison, setting: Setting, measure: str, words: Words, *, strong: bool) -> Cell:
    spread = setting.summary.get(measure)
    if spread is None:
        return Cell(None)
    unit = str(comparison.measures[measure].get("unit") or "")
    notes = []
    if spread.low is not None and spread.high is not None:
        notes.append(f"{amount(spread.low, measure, unit)} – {amount(spread.high, measure, unit)}")
    if spread.count < len(setting.runs):
        notes.append(words("comparison.of_seeds", count=spread.count, seeds=len(setting.runs)))
    return Cell(amount(spread.mean, measure, unit), note=", ".join(notes), strong=strong)


def _curves(comparison: Comparison, words: Words) -> list[Block]:
    figures: list[Block] = []
    for kind in CURVES:
        curves = setting_curves(comparison, kind)
        if any(curve.all_series for curve in curves):
            figures.append(_figure(kind, curves, words))
    return figures or [Paragraph(words("comparison.no_curves"), "missing")]


def _figure(kind: str, curves: list[SettingCurve], words: Words) -> Figure:
    key = tuple(
        KeyEntry(curve.label, colour_of(number), " ".join(f"{length:g}" for length in dashes_of(number)))
        for number, curve in enumerate(curves)
        if curve.all_series
    )
    seeds = max(curve.seeds for curve in curves)
    notes = [words("comparison.band" if seeds > 1 else "comparison.one_line")]
    if any(curve.alone for curve in curves):
        notes.append(words("comparison.alone"))
    return Figure(
        caption=words(f"comparison.curve.{kind}"),
        wide=draw_curves(kind, curves, WIDE),
        narrow=draw_curves(kind, curves, NARROW),
        across=words(f"across.{token_unit(curves)[1]}"),
        key=key,
        note=words("page.space").join(notes),
    )


def _differences(comparison: Comparison, words: Words) -> list[Block]:
    measure = comparison.main_measure
    if measure is None:
        return [Paragraph(words("comparison.no_pairs"), "missing")]
    pairs = [pair for pair in comparison.pairs if pair.measure == measure]
    first = sorted(pairs, key=lambda pair: (not pair.is_shown, -abs(pair.difference)))[:MAX_PAIRS]
    name = measure_name(measure, words)
    unit = str(comparison.measures.get(measure, {}).get("unit") or "")
    notes = [words("comparison.differences.note")]
    if len(first) < len(pairs):
        notes.append(words("comparison.differences.cut", shown=len(first), pairs=len(pairs)))
    if not all(pair.is_paired for pair in first):
        notes.append(words("comparison.differences.unpaired"))
    figure = Figure(
        caption=words("comparison.differences.of", measure=name),
        wide=draw_differences("differences", first, WIDE),
        narrow=draw_differences("differences", first, NARROW),
        across=words("comparison.differences.across", measure=f"{name} ({words.unit(unit)})" if unit else name),
        note=words("page.space").join(notes),
    )
    others = [pair for pair in comparison.pairs if pair.measure != measure]
    blocks: list[Block] = [figure, _pair_table(comparison, pairs, words, "pairs")]
    if others:
        folded = _pair_table(comparison, others, words, "other-pairs", words("comparison.differences.others"))
        blocks.append(folded)
    return blocks


def _pair_table(comparison: Comparison, pairs: list[Pair], words: Words, name: str, caption: str = "") -> Rows:
    rows = []
    for pair in pairs:
        unit = str(comparison.measures.get(pair.measure, {}).get("unit") or "")
        ends = [signed(end, pair.measure, unit) for end in (pair.low, pair.high) if end is not None]
        rows.append(
            (
                Cell(f"{pair.a} − {pair.b}"),
                *([Cell(measure_name(pair.measure, words))] if caption else []),
                Cell(signed(pair.difference, pair.measure, unit)),
                Cell(words("comparison.between", low=ends[0], high=ends[1]) if len(ends) == 2 else None),
                Cell(integer(pair.seeds)),
                Cell(words("yes" if pair.is_shown else "no"), strong=pair.is_shown),
            )
        )
    columns = ["difference", "interval", "count", "shown"]
    head = [words("comparison.pair"), *([words("comparison.measure")] if caption else [])]
    head += [words(f"comparison.column.{column}") for column in columns]
    return Rows(
        tuple(head), tuple(rows), numbers_from=2 if caption else 1, caption=caption, name=name, folded=bool(caption)
    )


def _missing(comparison: Comparison, words: Words) -> list[Block]:
    unfinished = [(setting, run) for setting, run in comparison.runs if run.state != FINISHED]
    if not unfinished:
        return [Paragraph(words("comparison.all_finished", runs=len(comparison.runs)))]
    rows = tuple(
        (
            Cell(setting.label),
            Cell(str(run.seed)),
            Cell(_state(run, words), tone="bad" if run.state == "failed" else ""),
            Cell(run.reason or words("comparison.no_reason")),
        )
        for setting, run in unfinished
    )
    head = tuple(words(f"comparison.{column}") for column in ("setting", "seed", "state", "reason"))
    return [Rows(head, rows, numbers_from=len(head), name="unfinished")]


def _state(run: OneRun, words: Words) -> str:
    key = f"state.{run.state}"
    return words(key) if words.has(key) else run.state


def _settings(comparison: Comparison, words: Words) -> list[Block]:
    fields = list(dict.fromkeys(field for setting in comparison.settings for field in setting.overrides))
    if not fields:
        return [Paragraph(words("comparison.same_settings"))]
    rows = tuple(
        (
            Cell(setting.label),
            *(
                Cell(override_text(setting.overrides[field]), code=True)
                if field in setting.overrides
                else Cell(words("comparison.as_recipe"))
                for field in fields
            ),
        )
        for setting in comparison.settings
    )
    return [Rows((words("comparison.setting"), *fields), rows, numbers_from=len(fields) + 1, name="settings-table")]


def _origin(comparison: Comparison, words: Words) -> list[Block]:
    facts: Record = comparison.facts
    rows: list[tuple[str, Cell]] = []
    for name in ("recipe", "hardware", "version", "started", "updated"):
        value = facts.get(name)
        shown = when(str(value)) if value and name in ("started", "updated") else value
        rows.append((words(f"comparison.fact.{name}"), Cell(str(shown) if shown else None)))
    for name in ("seeds", "changed"):
        listed = ", ".join(str(one) for one in facts.get(name) or [])
        rows.append((words(f"comparison.fact.{name}"), Cell(listed or None)))
    tokens = facts.get("tokens_per_run")
    rows.append((words("comparison.fact.tokens"), Cell(integer(tokens) if tokens else None)))
    blocks: list[Block] = [Facts(tuple(rows))]
    if facts.get("command"):
        blocks.append(Paragraph(words("comparison.again"), "missing", command=str(facts["command"])))
    blocks.append(Bullets((words("comparison.files"),)))
    return blocks
