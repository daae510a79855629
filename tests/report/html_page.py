"""A report read back: elements by id, tables as rows, the text a reader sees."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from made_run import Project

from megatron_recipe.report import write_report

NUMBER = re.compile(r"[−-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?")

VOID = {"meta", "br", "link", "img", "hr", "input"}


class _TreeBuilder(HTMLParser):
    """HTML to an element tree; fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = SubElement(self.open[-1], tag, {key: value or "" for key, value in attrs})
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        SubElement(self.open[-1], tag, {key: value or "" for key, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        closed = self.open.pop()
        if closed.tag != tag:
            raise AssertionError(f"</{tag}> closes <{closed.tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        last = self.open[-1]
        if len(last):
            last[-1].tail = (last[-1].tail or "") + data
        else:
            last.text = (last.text or "") + data


class Page:
    """One HTML report."""

    def __init__(self, path: Path) -> None:
        self.html = path.read_text(encoding="utf-8")
        builder = _TreeBuilder()
        builder.feed(self.html)
        builder.close()
        if len(builder.open) != 1:
            raise AssertionError(f"not closed: {[element.tag for element in builder.open]}")
        self.root = builder.root

    def value(self, name: str) -> str:
        """Text of the element with this data-id, without its note."""
        found = [e for e in self.root.iter() if e.get("data-id") == name]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} elements with data-id={name}")
        return (found[0].text or "").strip()

    def section(self, name: str) -> Element:
        """The section with this id."""
        return next(e for e in self.root.iter("section") if e.get("id") == name)

    def rows(self, css_class: str) -> list[list[str]]:
        """Body rows of the first table of this class, as texts."""
        table = next(e for e in self.root.iter("table") if css_class in e.get("class", "").split())
        body = next(table.iter("tbody"))
        return [[text_of(cell) for cell in row] for row in body.iter("tr")]

    def drawing(self, prefix: str) -> Element:
        """The SVG whose ids begin with `prefix`."""
        return next(svg for svg in self.root.iter("svg") if any(prefix in e.get("id", "") for e in svg.iter()))


def text_of(element: Element, skip: tuple[str, ...] = ("svg", "style")) -> str:
    """The text a reader sees in an element, white space folded."""
    parts: list[str] = []

    def walk(node: Element) -> None:
        if node.tag not in skip:
            parts.append(node.text or "")
            for child in node:
                walk(child)
                parts.append(child.tail or "")

    walk(element)
    return " ".join(" ".join(parts).split())


def page(project: Project, lang: str = "en") -> Page:
    """The project's report, written and read back."""
    return Page(write_report(project.run, lang=lang))
