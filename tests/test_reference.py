"""The reference pages: the committed ones are those of the code, and every field is on them with what holds for it."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config
from megatron_recipe.reference import Page, pages, reference_command, sections, set_by
from megatron_recipe.reference_commands import CommandsPage
from megatron_recipe.settings import RecipeFolder, Section

DOCS = Path(__file__).parent.parent / "docs"
ALL = pages()
SETTINGS = [page for page in ALL if isinstance(page, Page)]
PAGES = pytest.mark.parametrize("page", SETTINGS, ids=lambda page: page.file)


class Small(Section):
    """Something small."""

    size: float = Field(default=0.5, gt=0, le=1)
    """How large, in
    metres; 1 | more."""
    kind: Literal["a", "b"] | None = None
    """Of what."""


class Root(Section):
    """All of it."""

    small: Small = Small()
    parts: list[Small] = Field(min_length=1)
    """Its parts."""


def page_of(settings: type[Section], folder: Path) -> Page:
    return Page("small.md", "Small things", settings, RecipeFolder(folder), "recipes", "do --set small.size=1")


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """The table below a heading: cells by the field's name."""
    part = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("| ") for line in part.splitlines() if line.startswith("| `")]
    return {cells[0].strip("` "): [cell.strip() for cell in cells[1:]] for cells in (ln.split(" | ") for ln in lines)}


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.file)
def test_the_committed_page_is_that_of_the_code(page: Page | CommandsPage) -> None:
    committed = (DOCS / page.file).read_text(encoding="utf-8")
    assert committed == page.text(), "stale: run `python -m megatron_recipe.reference docs`"


@PAGES
def test_every_field_is_on_the_page(page: Page) -> None:
    """Counted in the JSON schema, which knows nothing of the page."""
    schema = page.settings.model_json_schema()
    headings = {section.__name__: ".".join(path) or "Top level" for path, section in sections(page.settings)}
    assert set(headings) >= set(schema["$defs"])
    for name, definition in schema["$defs"].items():
        values = {field for field, kind in definition["properties"].items() if "$ref" not in kind}  # else a section
        assert set(rows(page.text(), headings[name])) == values


def test_a_page_says_type_range_default_meaning_and_recipes(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("small: {size: 0.25}\nparts: [{size: 1}, {kind: a}]\n")
    (tmp_path / "two.yaml").write_text("extends: one\nsmall: {kind: b}\n")
    text = page_of(Root, tmp_path).text()
    assert rows(text, "small") == {
        "size": ["number, > 0, ≤ 1", "`0.5`", "How large, in metres; 1 \\| more.", "`0.25` all"],
        "kind": ["`a` or `b` or null", "`null`", "Of what.", "`b` two"],
    }
    assert rows(text, "parts[]")["size"][3] == "`1` all"
    assert rows(text, "Top level") == {"parts": ["list of sections, at least 1", "must be set", "Its parts.", "all"]}


def test_what_recipes_set_is_what_they_resolve_to() -> None:
    page = next(page for page in SETTINGS if page.file == "config.md")
    for name in page.recipes.names():
        config = load_config(name)
        said = set_by({name: page.recipes.read(name)}, ("schedule", "peak_learning_rate"))
        assert said == f"`{config.schedule.peak_learning_rate:g}` all"


def test_a_recipe_stands_for_its_fp8_variant() -> None:
    values: dict[str, Any] = {name: {"a": 1} for name in ("x", "x_fp8", "y_fp8", "z")} | {"other": {"a": 2}}
    assert set_by(values, ("a",)) == "`1` x(_fp8), y_fp8, z; `2` other"


class Undocumented(Section):
    """A section whose field says nothing."""

    size: int = 1


class Unnamed(Section):
    size: int = 1
    """Something."""


@pytest.mark.parametrize(("settings", "words"), [(Undocumented, "Undocumented.size"), (Unnamed, "Unnamed")])
def test_what_has_no_docstring_is_named(settings: type[Section], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{words} has no docstring"):
        page_of(settings, tmp_path).text()


def test_writing_the_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    reference_command(folder, dry_run=True)
    assert not folder.exists()
    assert capsys.readouterr().err.splitlines() == [f"would write {folder / page.file}" for page in ALL]
    reference_command(folder, dry_run=False)
    written = sorted(folder.iterdir())
    assert [path.name for path in written] == ["commands.md", "config.md", "data_recipe.md"]
    titles = [path.read_text(encoding="utf-8").splitlines()[0] for path in written]
    assert titles == ["# Commands", "# Settings of a training run", "# Settings of a dataset"]
