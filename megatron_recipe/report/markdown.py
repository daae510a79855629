"""A document as Markdown, with marked places for the author's words, which are kept when it is written again."""

import re
from functools import singledispatchmethod
from pathlib import Path

from megatron_recipe.errors import ConfigError
from megatron_recipe.report.document import Author, Block, Bullets, Cell, Document, Facts, Figure, Paragraph, Table
from megatron_recipe.report.words import Words

MARK = re.compile(r"<!--\s*(your words:|end of)\s*([^\s>]+?)\s*-->", re.IGNORECASE)
ACTS = re.compile(r"[\\`*\[\]<|~]|(?<!\w)_|_(?!\w)")
"""Characters that Markdown would not show as they are; an underscore inside a word does nothing."""


def author_words(path: Path) -> dict[str, str]:
    """What the author wrote into the places of the document at `path`, by their names; empty where there is none.

    Raises ConfigError for a file that has no such places, since it is not ours to replace, or one whose marks are
    damaged, so that words would be lost.
    """
    if not path.is_file():
        return {}
    try:
        places = words_between_marks(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 at byte {error.start:,}, so that your words cannot be read; save it as UTF-8"
        ) from error
    if not places:
        raise ConfigError(
            f"{path} has no places for the author's words (<!-- your words: … -->), so that nothing of it could be "
            "kept; move it away, or name another file with --out"
        )
    return {name: words for name, words in places.items() if words}


def words_between_marks(text: str, place: str) -> dict[str, str]:
    """What stands between each pair of marks, by their names. Raises ConfigError for a mark without its other one."""
    places: dict[str, str] = {}
    begun: re.Match[str] | None = None
    for mark in MARK.finditer(text):
        is_begin, name = mark[1].lower() != "end of", mark[2]
        if is_begin != (begun is None) or (begun is not None and begun[2] != name):
            raise _damaged(text, place, begun or mark)
        if is_begin and name in places:
            raise ConfigError(
                f"{place}: {mark[0]} stands there twice, and one of the two would be lost; keep one of them"
            )
        if begun is not None:
            places[name] = text[begun.end() : mark.start()].strip()
        begun = mark if is_begin else None
    if begun is not None:
        raise _damaged(text, place, begun)
    return places


def _damaged(text: str, place: str, mark: re.Match[str]) -> ConfigError:
    line, name = text.count("\n", 0, mark.start()) + 1, mark[2]
    return ConfigError(
        f"{place}, line {line}: {mark[0]} has lost the mark that belongs to it, and your words there would be lost; a "
        f"place is <!-- your words: {name} -->, your words, <!-- end of {name} -->"
    )


def render_markdown(document: Document) -> str:
    """The whole document as Markdown."""
    setter = _Setter(document)
    parts = [f"# {escaped(document.title)}", f"*{escaped(document.kind)}*", escaped(document.lede)]
    for section in document.sections:
        parts.append(f"## {escaped(section.title)}")
        parts += [escaped(section.origin)] if section.origin else []
        parts += [setter.block(block) for block in section.blocks]
    parts += ["---", escaped(document.footer)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Text on one line in which nothing acts."""
    return ACTS.sub(lambda match: "&lt;" if match.group() == "<" else f"\\{match.group()}", " ".join(text.split()))


def code(text: str) -> str:
    """Text as code on one line, also where it has backticks."""
    text = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"`{text}`"


class _Setter:
    """Sets blocks in the words of the document's language."""

    def __init__(self, document: Document) -> None:
        self.words = Words(document.lang)
        self.page_file = document.page_file

    @singledispatchmethod
    def block(self, block: Block) -> str:
        raise TypeError(f"no Markdown for {type(block).__name__}")

    @block.register
    def _(self, block: Paragraph) -> str:
        command = f"\n\n```\n{block.command}\n```" if block.command else ""
        text = f"**{escaped(block.text)}**" if block.kind == "result" else escaped(block.text)
        return text + command

    @block.register
    def _(self, block: Facts) -> str:
        return "\n".join(f"- {escaped(label)}: {self.cell(cell)}" for label, cell in block.rows)

    @block.register
    def _(self, block: Table) -> str:
        rule = ["---" if column < block.numbers_from else "---:" for column in range(len(block.head))]
        lines = [[escaped(label) for label in block.head], rule]
        # a pipe ends a cell even inside code
        lines += [[re.sub(r"(?<!\\)\|", r"\\|", self.cell(cell)) for cell in row] for row in block.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"**{escaped(block.caption)}**\n\n{table}" if block.caption else table

    @block.register
    def _(self, block: Bullets) -> str:
        return "\n".join(f"- {escaped(item)}" for item in block.items)

    @block.register
    def _(self, block: Figure) -> str:
        return escaped(self.words("document.figure", caption=block.caption, file=self.page_file))

    @block.register
    def _(self, block: Author) -> str:
        question = f"> ✍ **{escaped(self.words('document.author'))}** {escaped(block.question)}"
        return f"{question}\n\n<!-- your words: {block.name} -->\n{block.words}\n<!-- end of {block.name} -->"

    def cell(self, cell: Cell) -> str:
        """A value with its note."""
        text = self.words("not_measured") if cell.text is None else code(cell.text) if cell.code else escaped(cell.text)
        text = f"**{text}**" if cell.strong else text
        text = f"[{text}](<{cell.link}>)" if cell.link else text
        return f"{text} ({escaped(cell.note)})" if cell.note else text
