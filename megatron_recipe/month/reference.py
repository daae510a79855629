"""The table of tasks in docs/month.md and docs/month.zh-CN.md, made from the tasks themselves.

Run: python -m megatron_recipe.month.reference docs

What stands around the table is written by hand. A test compares it with the tasks, and the commands with the CLI.
"""

import sys
from datetime import date
from pathlib import Path

from megatron_recipe.console import say
from megatron_recipe.month.month_file import Month
from megatron_recipe.month.strings import LEDGER, wanted_text
from megatron_recipe.month.tasks import Task, commands_of, weeks
from megatron_recipe.tables_in_pages import TablesInPages

FILES = {"en": "month.md", "zh": "month.zh-CN.md"}
HEADS = {
    "en": ("day", "task", "command", "proof that is looked for", "tests that ran it"),
    "zh": ("天", "任务", "命令", "查找的证据", "运行过它的测试"),
}
COLON = {"en": ": ", "zh": "："}
WORD = {"en": "your word", "zh": "你说的话"}
NOBODYS = Month(begins=date(2000, 1, 1), ends=date(2000, 1, 30))
"""A month with the default names."""


def table(lang: str) -> str:
    """All tasks and deliverables as Markdown, one table for each week."""
    lines = []
    for number, week in enumerate(weeks()):
        title = LEDGER[lang]["week"].format(week=number, title=week.title.of(lang))
        lines += ["", f"### {title}", "", f"| {' | '.join(HEADS[lang])} |", "|" + "---|" * len(HEADS[lang])]
        lines += [f"| {' | '.join(_cells(task, lang))} |" for task in week.tasks]
    return "\n".join((*lines, ""))


def _cells(task: Task, lang: str) -> tuple[str, ...]:
    title = task.title.of(lang)
    if task.kind == "deliverable":
        title = f"**{LEDGER[lang]['deliverable']}**{COLON[lang]}{title}"
    proof = list(dict.fromkeys(wanted_text(evidence, NOBODYS, lang) for evidence in task.evidence))
    proof += [f"{WORD[lang]} (`--done {task.id}`)"] if task.said else []
    return (
        str(task.day),
        f"{title} `{task.id}`",
        "<br>".join(f"`{command}`" for command in commands_of(task, NOBODYS, lang)) or "–",
        "; ".join(proof).replace("*", "\\*"),
        "<br>".join(f"`{test}`" for test in task.tests),
    )


TABLES = TablesInPages(FILES, table)


if __name__ == "__main__":
    for written_page in TABLES.write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")):
        say(str(written_page))
