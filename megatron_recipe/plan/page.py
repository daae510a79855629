"""A plan on the terminal: tables that fit 80 columns."""

import math
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from megatron_recipe.plan.cost import rate
from megatron_recipe.plan.hardware import GIB
from megatron_recipe.plan.memory import RECOMPUTE_LEVELS
from megatron_recipe.plan.plan import Cell, Plan
from megatron_recipe.plan.speed import ASSUMED_MFU
from megatron_recipe.plan.strings import TABLES

WIDTH = 80
CHOSEN, TOO_MUCH = "◀", "–"


def print_plan(plan: Plan, recipe: str, lang: str) -> None:
    """Print the plan to standard output."""
    words = TABLES[lang]
    console = Console(file=sys.stdout, width=WIDTH, highlight=False)
    console.print(
        words["title"].format(recipe=recipe, gpus=plan.gpus, card=plan.hardware.card), style="bold", markup=False
    )
    if plan.refusal:
        console.print(words["cannot"].format(reason=plan.refusal), style="red", markup=False)
    for title, table in (
        (words["parameters"], _parameters(plan, words)),
        (words["memory"].format(micro_batch=plan.micro_batch, recompute=plan.recompute), _memory(plan, words)),
        (words["fitting"].format(mark=CHOSEN), _fitting(plan, words)),
        (words["work"], _work(plan, words)),
        (words["loss_title"], _losses(plan, words)),
        (words["disk"], _disk(plan, words)),
        (words["cost"].format(gpus=plan.gpus), _costs(plan, words)),
    ):
        console.print()
        console.print(title, style="bold cyan", markup=False)
        console.print(table)
    unchecked = "" if rate().checked else words["rate_unchecked"]
    notes = words["cost_notes"].format(assumed=ASSUMED_MFU, rate=rate().cny_per_usd, unchecked=unchecked)
    console.print(notes, style="dim", markup=False)


def _grid(*justify: str) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for side in justify:
        table.add_column(justify="right" if side == "right" else "left", overflow="fold")
    return table


def _rows(rows: Iterable[tuple[str, str]], bold: str) -> Table:
    """Names and numbers, one of the rows in bold."""
    table = _grid("left", "right")
    for name, value in rows:
        table.add_row("  " + name, value, style="bold" if name == bold else None)
    return table


def _parameters(plan: Plan, words: dict[str, str]) -> Table:
    counted = plan.parameters
    output = words["output"] if counted.output else words["output_tied"]
    return _rows(
        (
            (words["embedding"], f"{counted.embedding:,}"),
            (words["attention"], f"{counted.attention:,}"),
            (words["feed_forward"], f"{counted.feed_forward:,}"),
            (words["norms"], f"{counted.norms:,}"),
            (output, f"{counted.output:,}"),
            (words["total"], f"{counted.total:,}"),
        ),
        bold=words["total"],
    )


def _memory(plan: Plan, words: dict[str, str]) -> Table:
    rows = [(words[name], f"{size / GIB:.2f}") for name, size in plan.memory.parts().items() if size]
    sums = (
        (words["total"], f"{plan.memory.total / GIB:.2f}"),
        (words["allocated"], f"{plan.memory.allocated / GIB:.2f}"),
        (words["card_has"], f"{plan.hardware.memory_bytes / GIB:.2f}"),
    )
    return _rows([*rows, *sums], bold=words["total"])


def _fitting(plan: Plan, words: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("  " + words["micro_batch"], justify="right")
    table.add_column(words["tokens_at_once"], justify="right")
    for recompute in RECOMPUTE_LEVELS:
        table.add_column(recompute, justify="right")
    by_place = {(cell.micro_batch, cell.recompute): cell for cell in plan.cells}
    for micro_batch in sorted({cell.micro_batch for cell in plan.cells}):
        cells = [_cell(by_place[micro_batch, recompute]) for recompute in RECOMPUTE_LEVELS]
        tokens = micro_batch * plan.config.model.sequence_length_tokens
        table.add_row(str(micro_batch), f"{tokens:,}", *cells)
    return table


def _cell(cell: Cell) -> Text:
    mark, style = (CHOSEN, "bold green") if cell.chosen else (" ", "") if cell.fits else (TOO_MUCH, "dim")
    return Text(f"{cell.bytes / GIB:.1f} {mark}", style=style)


def _origin_of_mfu(plan: Plan) -> str:
    """Key of its words: what was measured is with data parallelism (docs/performance.md: two H200s)."""
    layout = plan.config.parallel
    is_split = layout.tensor * layout.pipeline * layout.context > 1
    return "measured_whole" if plan.mfu.origin == "measured" and is_split else plan.mfu.origin


def _work(plan: Plan, words: dict[str, str]) -> Table:
    ratio = plan.tokens / plan.parameters.total
    rows = [
        (words["tokens"], words["per_parameter"].format(tokens=billions(plan.tokens), ratio=ratio)),
        (words["chinchilla"], billions(plan.chinchilla_tokens)),
        (
            words["flops_token"],
            f"{plan.flops_per_token_full / 1e9:.2f} / {plan.flops_per_token_causal / 1e9:.2f} × 10⁹",
        ),
        (words["flops_total"], power_of_ten(plan.flops_per_token_full * plan.tokens)),
        (words["mfu"], words[_origin_of_mfu(plan)].format(percent=plan.mfu.percent)),
    ]
    if not plan.tokens_per_second:
        return _left_rows([*rows, (words["days"], words["unknown"])])
    speed = f"{plan.tokens_per_second:,.0f}, {plan.tokens_per_second * plan.gpus:,.0f}"
    return _left_rows([*rows, (words["speed"], speed), (words["days"], days(plan.days))])


def _left_rows(rows: Iterable[tuple[str, str]]) -> Table:
    table = _grid("left", "left")
    for name, value in rows:
        table.add_row("  " + name, value)
    return table


def _losses(plan: Plan, words: dict[str, str]) -> Table:
    return _left_rows(
        (source, words["loss_line"].format(loss=loss, perplexity=math.exp(loss))) for source, loss in plan.losses()
    )


def _disk(plan: Plan, words: dict[str, str]) -> Table:
    disk = plan.disk
    return _rows(
        (
            (words["disk_text"], f"{disk.text / 1e9:,.1f}"),
            (words["disk_tokens"], f"{disk.tokens / 1e9:,.1f}"),
            (words["disk_checkpoint"], f"{disk.checkpoint / 1e9:,.1f}"),
            (words["disk_checkpoints"], f"{disk.checkpoints / 1e9:,.1f}"),
            (words["total"], f"{disk.total / 1e9:,.1f}"),
        ),
        bold=words["total"],
    )


def _costs(plan: Plan, words: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  " + words["card"])
    table.add_column(words["platform"])
    for key in ("hour", "billion", "days", "run"):
        table.add_column(words[key], justify="right")
    table.add_column(words["read"])
    for line in plan.costs:
        assumed = "~" if line.mfu.origin == "assumed" else " "
        table.add_row(
            "  " + line.offer.gpu,
            line.offer.platform,
            f"{line.offer.cny_per_hour:.2f}{' ' if line.offer.checked else '?'}",
            f"{line.cny_per_billion_tokens:,.0f}{assumed}",
            days(line.days),
            f"{line.cny:,.0f}",
            line.offer.date,
            style="bold" if line.offer.gpu == plan.hardware.name else None,
        )
    return table


def days(amount: float) -> str:
    """With the digits that mean something."""
    return f"{amount:.2f}" if amount < 10 else f"{amount:,.1f}"


def billions(tokens: float) -> str:
    """Tokens in units that are read at a glance."""
    return f"{tokens / 1e9:,.2f} × 10⁹" if tokens >= 1e8 else f"{tokens / 1e6:,.2f} × 10⁶"


def power_of_ten(number: float) -> str:
    """As 1.56 × 10²⁰."""
    exponent = math.floor(math.log10(number))
    digits = str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{number / 10**exponent:.2f} × 10{digits}"
