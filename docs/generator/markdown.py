"""What the site and its tests read of a Markdown page: headings, anchors, links, blocks of code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^\s*```(\S*)")
HEADING = re.compile(r"^(#{1,6}) +(.+?) *#*$")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
TRANSLATED = ".zh-CN.md"


@dataclass(frozen=True)
class Link:
    """A link or a picture, as the page has it."""

    text: str
    target: str
    is_picture: bool


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    """As written after the fence; empty where nothing is."""
    text: str


def pages(folder: Path, chinese: bool) -> list[Path]:
    """The pages of one language; a page that is not translated is in none but the English list."""
    return sorted(path for path in folder.glob("*.md") if path.name.endswith(TRANSLATED) == chinese)


def translation(page: Path) -> Path:
    """Where the Chinese page of an English one lies, whether it is there or not."""
    return page.with_name(page.stem + TRANSLATED)


def lines_in_prose(text: str) -> Iterator[tuple[str, bool]]:
    """Every line, and whether it is prose: not in a block of code, nor its fence."""
    in_code = False
    for line in text.splitlines():
        is_fence = FENCE.match(line) is not None
        yield line, not in_code and not is_fence
        in_code ^= is_fence


def prose(text: str) -> str:
    """The page without its blocks of code and HTML comments."""
    kept = "\n".join(line for line, is_prose in lines_in_prose(text) if is_prose)
    return re.sub(r"<!--.*?-->", "", kept, flags=re.DOTALL)


def headings(text: str) -> list[tuple[int, str]]:
    """Level and words of each heading, in order."""
    found = (HEADING.match(line) for line in prose(text).splitlines())
    return [(len(match[1]), match[2]) for match in found if match]


def anchors(text: str) -> list[str]:
    """The names by which links reach the headings, as GitHub makes them: a second equal one ends in -1."""
    seen: dict[str, int] = {}
    names = []
    for _, words in headings(text):
        plain = LINK.sub(r"\2", words).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = seen.get(name, 0)
        seen[name] = number + 1
        names.append(f"{name}-{number}" if number else name)
    return names


def links(text: str) -> list[Link]:
    """All links and pictures of the prose, but those shown as code; of a picture with a link around it the link."""
    shown = CODE.sub(lambda code: code[0] if "](" not in code[0] else "", prose(text))
    return [Link(match[2], match[3], match[1] == "!") for match in LINK.finditer(shown)]


def blocks(text: str) -> list[Block]:
    """The fenced blocks, in order."""
    found: list[Block] = []
    language, lines = "", []  # type: tuple[str, list[str]]
    in_code = False
    for line in text.splitlines():
        match = FENCE.match(line)
        if match and in_code:
            found.append(Block(language, "\n".join(lines)))
        elif match:
            language, lines = match[1], []
        elif in_code:
            lines.append(line)
        in_code ^= match is not None
    return found


def codes(text: str) -> list[str]:
    """The code within lines of prose, each in one line."""
    return [" ".join(match[2].split()) for match in CODE.finditer(prose(text))]


def tables(text: str) -> int:
    """How many tables a page has: counted by the lines below their heads."""
    return len(re.findall(r"^\|(?: *:?-+:? *\|)+ *$", prose(text), flags=re.MULTILINE))
