"""The pages hang together: both languages have the same parts, links lead somewhere, the index names every page."""

from pathlib import Path

import pytest
from doc_pages import DOCS, MADE, READMES, all_pages, name_of, text_of

from docs.generator.markdown import anchors, blocks, headings, links, pages, tables, translation

PAIRS = [(page, translation(page)) for page in (READMES[0], *pages(DOCS, chinese=False)) if page.name not in MADE]
ELSEWHERE = ("http://", "https://", "mailto:")


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: page.name)
def test_both_languages_have_the_same_parts(english: Path, chinese: Path) -> None:
    assert chinese.exists(), f"{name_of(english)} has no translation"
    first, second = text_of(english), text_of(chinese)
    levels = [[level for level, _ in headings(text)] for text in (first, second)]
    assert levels[0] == levels[1], [[words for _, words in headings(text)] for text in (first, second)]
    assert [level for level in levels[0] if level == 1] == [1], "one title a page"
    assert tables(first) == tables(second)
    assert [block.language for block in blocks(first)] == [block.language for block in blocks(second)]
    assert f"({chinese.name})" in first and f"({english.name})" in second, "each links to the other language"


def test_no_translation_without_its_page() -> None:
    names = {page.name for page in pages(DOCS, chinese=False)}
    assert [page.name for page in pages(DOCS, chinese=True) if page.name.replace(".zh-CN", "") not in names] == []


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in links(text_of(page)):
        path, _, anchor = link.target.partition("#")
        if link.target.startswith(ELSEWHERE):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(text_of(target))):
            found.append(link.target)
    return found


@pytest.mark.parametrize("page", all_pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other\n\n## A part: `x`\n\n## A part: `x`\n\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#a-part-x) [c](other.md#a-part-x-1) [d](https://example.org) `[e](none.md)`\n"
        "[f](none.md) [g](other.md#a-part) [h](#here) ![i](none.png) [j](other.md#no-heading)\n"
    )
    assert broken(page) == ["none.md", "other.md#a-part", "#here", "none.png", "other.md#no-heading"]


@pytest.mark.parametrize("page", [page for page in all_pages() if "zh-CN" in page.name], ids=name_of)
def test_chinese_pages_stay_in_chinese(page: Path) -> None:
    """A link to a page that is translated leads to the translation, but for the switch to English."""
    targets = [(link.text, link.target.partition("#")[0]) for link in links(text_of(page))]
    strays = [
        target
        for text, target in targets
        if text != "English" and target.endswith(".md") and translation(page.parent / target).exists()
    ]
    assert strays == []


@pytest.mark.parametrize("chinese", [False, True])
def test_the_index_names_every_page(chinese: bool) -> None:
    named = {link.target for link in links(text_of(DOCS / ("index.zh-CN.md" if chinese else "index.md")))}
    there = {page.name for page in pages(DOCS, chinese)} | set(MADE)
    assert there - named - {"index.md", "index.zh-CN.md"} == set()


def test_pictures_say_what_they_show() -> None:
    pictures = [(name_of(page), link) for page in all_pages() for link in links(text_of(page)) if link.is_picture]
    assert pictures and [(name, link.target) for name, link in pictures if not link.text] == []
