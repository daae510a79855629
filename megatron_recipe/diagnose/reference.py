"""The table of checks in docs/diagnose.md and docs/diagnose.zh-CN.md, made from the checks themselves.

Run: python -m megatron_recipe.diagnose.reference docs

What stands above the table is written by hand; the table is put between two marks. A test compares it with the code.
"""

import sys
from pathlib import Path

from megatron_recipe.console import say
from megatron_recipe.diagnose.criteria import CRITERIA
from megatron_recipe.diagnose.criterion import GROUPS
from megatron_recipe.diagnose.output import words_of
from megatron_recipe.diagnose.strings import PAGES
from megatron_recipe.tables_in_pages import TablesInPages

FILES = {"en": "diagnose.md", "zh": "diagnose.zh-CN.md"}


def table(lang: str) -> str:
    """All checks as Markdown, by group, causes before what they lead to."""
    page = PAGES[lang]
    lines = []
    for group in GROUPS:
        columns = " | ".join((page["column.check"], *page["doc.table"].split("|")))
        lines += ["", f"### {page[f'group.{group}']}", "", f"| {columns} |", "|" + "---|" * 6]
        for criterion in sorted(CRITERIA, key=lambda one: -one.rank):
            if criterion.group == group:
                words = words_of(criterion.name, lang)
                name = f"**{words.title}** `{criterion.name}`"
                cells = (name, words.phenomenon, words.criterion, words.causes, words.checks, words.remedies)
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join((*lines, ""))


TABLES = TablesInPages(FILES, table)


if __name__ == "__main__":
    for written_page in TABLES.write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")):
        say(str(written_page))
