"""The pages that people read: the READMEs and docs/, by their names in the repository."""

from pathlib import Path

from docs.generator.markdown import pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
MADE = ("commands.md", "config.md", "data_recipe.md")
"""Made from the code, in English alone."""


def all_pages() -> list[Path]:
    return [*READMES, *pages(DOCS, chinese=False), *pages(DOCS, chinese=True)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")
