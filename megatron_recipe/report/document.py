"""A document in parts, once for all its forms: `document_page` sets it as HTML, `markdown` as Markdown.

Texts are plain: each form escapes them in its own way. What was not measured is None, and each form says so in words.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """One value; `text` None says that it was not measured. `tone` is `good`, `bad` or nothing. `link` is the address
    of a file, from where the page lies."""

    text: str | None
    note: str = ""
    code: bool = False
    strong: bool = False
    tone: str = ""
    link: str = ""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `kind` is nothing, `small`, `missing` (a part that is not there) or `result`."""

    text: str
    kind: str = ""
    command: str = ""
    """A command line that stands at its end."""


@dataclass(frozen=True)
class Facts:
    """Values with their names."""

    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class Table:
    """Rows of cells; columns from `numbers_from` on are numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers_from: int
    caption: str = ""
    name: str = ""
    folded: bool = False
    """Closed until the reader opens it by its caption."""


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class KeyEntry:
    """One line of a figure's key; `colour` is a CSS colour, `dashes` an SVG stroke-dasharray."""

    label: str
    colour: str
    dashes: str


@dataclass(frozen=True)
class Figure:
    """A drawing as SVG, for wide pages and for phones."""

    caption: str
    wide: str
    narrow: str
    across: str = ""
    key: tuple[KeyEntry, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Author:
    """A place for the author's own words: what is asked, and what was written there before."""

    name: str
    question: str
    words: str = ""


Block = Paragraph | Facts | Table | Bullets | Figure | Author


@dataclass(frozen=True)
class Section:
    """A part with a title; `origin` says where its numbers come from."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    origin: str = ""


@dataclass(frozen=True)
class Document:
    """A whole document in one language."""

    lang: str
    kind: str
    title: str
    lede: str
    sections: tuple[Section, ...]
    footer: str
    page_file: str
    """Name of the HTML form, which has the figures that Markdown lacks."""


def markdown_path(page: Path) -> Path:
    """The Markdown that stands beside a page. Its name is never the page's own."""
    return page.with_suffix(".md")
