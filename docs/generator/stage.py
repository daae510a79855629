"""Turn the pages as GitHub shows them into the sources of one language's site.

Both languages lie side by side in docs/ (page.md, page.zh-CN.md), so that a change of one is seen beside the other.
Sphinx builds one language at a time; here each gets a folder of its own, where every page has the same name in both.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from docs.generator.markdown import FENCE, LINK, TRANSLATED, headings, links, pages, translation

INDEX = "index.md"
COMMAND = re.compile(
    r"([A-Z_]+=\S* )?([\w./-]+/)?(megatron-recipe|make|bash|python|torchrun|pip|docker|sbatch|source|export|git|ssh) "
    r"|\./launch/|# "
)
HAN = r"[\u3400-\u9fff]"
WIDE = r"[\u3000-\u303f\uff00-\uffef]"
"""Punctuation with its own space."""
BEGINS_SOMETHING = re.compile(r" *(?:[-*] |\d+\. |[#|>]|```|<|!\[)")


@dataclass(frozen=True)
class Language:
    """One of the two sites."""

    folder: str
    """Below the site's folder, and in links from the other one."""
    sphinx: str
    """Its name in Sphinx."""
    name: str
    """As its readers call it."""
    is_translation: bool
    """Whether its pages have the longer names."""


ENGLISH = Language("en", "en", "English", is_translation=False)
CHINESE = Language("zh", "zh_CN", "中文", is_translation=True)


def other(language: Language) -> Language:
    """The language that the switch leads to."""
    return ENGLISH if language == CHINESE else CHINESE


def sources(docs: Path, language: Language) -> dict[str, Path]:
    """The page for each name on the site: the translation, or the English page where there is none."""
    english = {path.name: path for path in pages(docs, chinese=False)}
    if not language.is_translation:
        return english
    return {name: translation(path) if translation(path).exists() else path for name, path in english.items()}


def staged_link(text: str, target: str) -> str | None:
    """A link as the site has it; None where it stays as it is.

    Links to the same page in the other language go (the site has a switch for that); files outside docs become text,
    since the site lies elsewhere; a link that shows a page's file name shows its title.
    """
    if target.startswith(("http:", "https:", "mailto:", "#")):
        return None
    path, _, anchor = target.partition("#")
    if text in (ENGLISH.name, CHINESE.name):
        return ""
    if path.startswith("../"):
        place = path.removeprefix("../")
        return text if place.rstrip("/") in text else f"{text} (`{place}`)"
    if path.endswith(TRANSLATED):
        name = path.removesuffix(TRANSLATED) + ".md"
        shown = "" if text.rsplit("/")[-1] == path else text
        return f"[{shown}]({name}{'#' + anchor if anchor else ''})"
    return f"[]({target})" if text.rsplit("/")[-1] == path else None


def staged_line(line: str) -> str:
    """A line of prose with the site's links."""

    def replaced(match: re.Match[str]) -> str:
        new = None if match[1] else staged_link(match[2], match[3])
        return match[0] if new is None else new

    return LINK.sub(replaced, line)


def goes_on_without_space(before: str, line: str) -> bool:
    """Whether two lines are one Chinese sentence: browsers show the end of a line as a space, and Chinese has none."""
    if not line.strip() or BEGINS_SOMETHING.match(line):
        return False
    return re.search(WIDE + "$", before) is not None or (
        re.search(HAN + "$", before) is not None and re.match(rf" *[\[*]*(?:{HAN}|{WIDE}|\])", line) is not None
    )


def staged(text: str) -> str:
    """A page as Sphinx gets it; a block of code that begins like a command is coloured as one."""
    lines = text.splitlines()
    result: list[str] = []
    in_code = False
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and not in_code and not fence[1]:
            first = next((after for after in lines[number + 1 :] if after.strip(" #")), "")
            result.append(line + ("bash" if COMMAND.match(first) else "text"))
        elif in_code or fence:
            result.append(line)
        elif result and goes_on_without_space(result[-1], staged_line(line)):
            result[-1] += staged_line(line).lstrip()
        else:
            result.append(staged_line(line))
        in_code ^= fence is not None
    return "\n".join(result) + "\n"


def contents(index: str) -> str:
    """The side bar: each section of the index page, with the pages that it links to, in its order and words."""
    parts = re.split(r"^(?=## )", index, flags=re.MULTILINE)[1:]
    trees = []
    for part in parts:
        entries = {link.target: link.text for link in links(part) if re.fullmatch(r"\w+\.md", link.target)}
        if entries:
            title = headings(part)[0][1]
            lines = "\n".join(f"{text} <{target.removesuffix('.md')}>" for target, text in entries.items())
            trees.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{lines}\n```\n")
    return "\n".join(trees)


def stage(docs: Path, language: Language, folder: Path) -> list[str]:
    """Write the sources of one language to `folder`, which is emptied before. Returns the names of the pages."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(docs / "images", folder / "images")
    names = sources(docs, language)
    for name, path in names.items():
        text = staged(path.read_text(encoding="utf-8"))
        if name == INDEX:
            text += "\n" + contents(text)
        (folder / name).write_text(text, encoding="utf-8")
    return list(names)
