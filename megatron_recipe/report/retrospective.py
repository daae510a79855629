"""The retrospective of a run (复盘): what the files prove, filled in, and marked places for the author's own words."""

from dataclasses import dataclass, field

from megatron_recipe import __version__
from megatron_recipe.report.bill import Bill, Price, bill_of
from megatron_recipe.report.commands import shown_path
from megatron_recipe.report.comparison import conclusions, question
from megatron_recipe.report.comparison_file import COMPARISON, Comparison
from megatron_recipe.report.document import Author, Block, Bullets, Cell, Document, Facts, Paragraph, Section, Table
from megatron_recipe.report.formats import fact, integer, money, ratio, visible, when
from megatron_recipe.report.operation import Cost, cost_of, lifetime
from megatron_recipe.report.problems import Problem, problems_of, shortened
from megatron_recipe.report.retrospective_facts import basic_facts, data_table, scores_table
from megatron_recipe.report.retrospective_points import lessons, points
from megatron_recipe.report.run_files import Run
from megatron_recipe.report.scorecard import scorecard
from megatron_recipe.report.summary import Summary, summarise
from megatron_recipe.report.words import Words

VERDICTS = {True: ("yes", "good"), False: ("no", "bad"), None: (None, "")}
SOLVED = {True: "yes", False: "no", None: "problem.open"}
MAX_INSTANCES = 40


@dataclass(frozen=True)
class Story:
    """What a retrospective is made of."""

    run: Run
    comparisons: list[Comparison] = field(default_factory=list)
    price: Price | None = None
    """Of the whole machine, `price_per_hour` and `currency`, in place of what the run recorded."""
    author: dict[str, str] = field(default_factory=dict)
    """The author's words, by the names of their places."""


@dataclass(frozen=True)
class Findings:
    """What was computed from a story, for all sections."""

    summary: Summary
    bill: Bill
    cost: Cost
    wall_seconds: float | None
    """From the beginning of the first instance to the end of the last."""
    problems: list[Problem]


def retrospective_document(story: Story, lang: str, page_file: str, written: str) -> Document:
    """The whole retrospective. `written`: the time now, ISO 8601."""
    words, run = Words(lang), story.run
    bill, (_, wall) = bill_of(run, story.price), lifetime(run.spending)
    found = Findings(summarise(run), bill, cost_of(run), wall, problems_of(run, words))
    parts: dict[str, list[Block]] = {
        "scorecard": _scorecard(story, found, words),
        "facts": [basic_facts(run, found.summary, words), *data_table(run, words), *scores_table(run, words)],
        "cost": _cost(story, found, words),
        "problems": _problems(story, found, words),
        "findings": _findings(story, words),
        "otherwise": _otherwise(story, found, words),
        "interview": _interview(story, found, words),
    }
    asked = {block.name for blocks in parts.values() for block in blocks if isinstance(block, Author)}
    others = [Author(name, name, text) for name, text in story.author.items() if name not in asked]
    if others:
        parts["notes"] = list(others)
    name = visible(run.folder.absolute().name)
    return Document(
        lang=lang,
        kind=words("retrospective.kind"),
        title=name,
        lede=words("retrospective.lede"),
        sections=tuple(
            Section(part, words(f"retrospective.{part}"), tuple(blocks), _origin(part, words))
            for part, blocks in parts.items()
        ),
        footer=words("retrospective.footer", version=__version__, time=when(written), name=name),
        page_file=page_file,
    )


def _origin(part: str, words: Words) -> str:
    key = f"retrospective.origin.{part}"
    return words(key) if words.has(key) else ""


def _author(story: Story, name: str, words: Words) -> Author:
    return Author(name, words(f"author.{name}"), story.author.get(name, ""))


def _scorecard(story: Story, found: Findings, words: Words) -> list[Block]:
    rows = []
    for one in scorecard(story.run, found.summary, found.bill, story.comparisons, words):
        verdict, tone = VERDICTS[one.is_met]
        text = words(verdict) if verdict else None
        file = Cell(one.file, code=True) if one.file else Cell("—")
        rows.append((Cell(one.goal), Cell(text, strong=verdict is not None, tone=tone), Cell(one.evidence), file))
    head = tuple(words(f"retrospective.column.{name}") for name in ("goal", "reached", "evidence", "file"))
    return [Table(head, tuple(rows), numbers_from=len(head), name="scorecard")]


def _cost(story: Story, found: Findings, words: Words) -> list[Block]:
    bill, cost = found.bill, found.cost
    currency, tokens = bill.currency or "", found.summary.tokens
    amount = None if bill.amount is None else money(bill.amount, currency)
    why = words(f"bill.{bill.missing}") if bill.missing else words("bill.given") if bill.is_given else ""
    hourly = None if bill.price_per_hour is None else money(bill.price_per_hour, currency)
    per_billion = money(bill.amount / tokens * 1e9, currency) if bill.amount is not None and tokens else None
    energy = None if cost.kilowatt_hours is None else f"{ratio(cost.kilowatt_hours)} kWh"
    per_token = (
        ""
        if cost.joules_per_token is None
        else words("operation.energy.note", joules=ratio(1000 * cost.joules_per_token))
    )
    rows = [
        ("amount", Cell(amount, note=why)),
        ("hourly", Cell(hourly)),
        ("per_billion", Cell(per_billion)),
        ("running", Cell(words.duration(bill.seconds))),
        ("wall", Cell(words.duration(found.wall_seconds))),
        ("instances", Cell(integer(len(story.run.spending)) if story.run.spending else None)),
        ("energy", Cell(energy, note=per_token)),
    ]
    blocks: list[Block] = [Facts(tuple((words(f"cost.{name}"), cell) for name, cell in rows))]
    spending = story.run.spending[-MAX_INSTANCES:]
    if len(spending) > 1:
        entries = tuple(
            (
                Cell(when(one.get("began"))),
                Cell(words.duration(one.get("seconds"))),
                Cell(money(one["price_per_hour"], str(one.get("currency"))) if one.get("price_per_hour") else None),
            )
            for one in spending
        )
        head = (words("cost.began"), words("cost.time"), words("cost.hourly"))
        blocks.append(Table(head, entries, numbers_from=1, caption=words("cost.instances"), name="instances"))
    return [*blocks, Paragraph(words("cost.scope"), "small"), _author(story, "cost", words)]


def _problems(story: Story, found: Findings, words: Words) -> list[Block]:
    if not story.run.events:
        return [Paragraph(words("problems.unknown"), "missing"), _author(story, "problems", words)]
    told, more = shortened(found.problems)
    blocks: list[Block] = []
    if told:
        rows = tuple(
            (
                Cell(when(one.time), note="" if one.step is None else words("problem.step", step=fact(one.step))),
                Cell(one.what),
                Cell(one.done or words("problem.not_recorded")),
                Cell(one.result or words("problem.not_recorded")),
                Cell(words(SOLVED[one.is_solved]), tone=VERDICTS[one.is_solved][1]),
            )
            for one in told
        )
        head = tuple(words(f"problem.column.{name}") for name in ("when", "what", "done", "result", "solved"))
        blocks.append(Table(head, rows, numbers_from=len(head), name="problems-table"))
    else:
        blocks.append(Paragraph(words("problems.none")))
    if more:
        listed = words.list([f"{kind} × {count:,}" for kind, count in more.items()])
        blocks.append(Paragraph(words("problems.more", kinds=listed), "small"))
    return [*blocks, _author(story, "problems", words)]


def _findings(story: Story, words: Words) -> list[Block]:
    blocks: list[Block] = []
    for one in story.comparisons:
        said = conclusions(one, words) or [words("comparison.no_conclusion")]
        where = words("findings.file", file=shown_path(one.folder / COMPARISON))
        title = one.title(words.lang)
        blocks.append(Paragraph(words("findings.question", title=title, question=question(one, words))))
        blocks += [Bullets(tuple(said)), Paragraph(where, "small")]
    if not story.comparisons:
        folder = shown_path(story.run.folder)
        command = f"megatron-recipe report {folder} --retrospective --comparison comparisons/NAME"
        blocks.append(Paragraph(words("findings.none"), "missing", command=command))
    return [*blocks, _author(story, "findings", words)]


def _otherwise(story: Story, found: Findings, words: Words) -> list[Block]:
    idle = None if found.wall_seconds is None else max(found.wall_seconds - (found.bill.seconds or 0.0), 0.0)
    measured = lessons(story.run, found.summary, idle, found.problems, words)
    blocks: list[Block] = [Paragraph(words("otherwise.measured")), Bullets(tuple(measured))] if measured else []
    return [*(blocks or [Paragraph(words("otherwise.none"), "missing")]), _author(story, "otherwise", words)]


def _interview(story: Story, found: Findings, words: Words) -> list[Block]:
    told = points(story.run, found.summary, found.bill, found.problems, words)
    for one in story.comparisons:
        file = shown_path(one.folder / COMPARISON)
        said = zip(one.conclusions, conclusions(one, words), strict=True)
        told += [f"{text} [{file}]" for entry, text in said if entry["kind"] == "better"]
    blocks: list[Block] = [Bullets(tuple(told))] if told else [Paragraph(words("interview.none"), "missing")]
    places = [_author(story, name, words) for name in ("hardest", "decision", "surprise")]
    return [*blocks, *places]
