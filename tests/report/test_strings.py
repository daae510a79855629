"""Both languages say the same things, and the templates say nothing of their own."""

import re
import string
from pathlib import Path

import pytest

import megatron_recipe
from megatron_recipe.languages import LANGUAGES
from megatron_recipe.report.strings import TABLES, Strings

TEMPLATES = sorted((Path(megatron_recipe.__file__).parent / "templates").glob("*.html"))


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_language_has_the_same_keys() -> None:
    assert set(TABLES) == set(LANGUAGES)
    for lang in LANGUAGES:
        assert list(TABLES[lang]) == list(TABLES["en"]), lang


@pytest.mark.parametrize("key", TABLES["en"])
def test_every_language_has_the_same_placeholders(key: str) -> None:
    assert placeholders(TABLES["zh"][key]) == placeholders(TABLES["en"][key])


def test_chinese_is_chinese_wherever_english_is_prose() -> None:
    for key, english in TABLES["en"].items():
        if english.count(" ") > 3:
            assert re.search("[\u4e00-\u9fff]", TABLES["zh"][key]), key


def test_strings_format_their_values() -> None:
    text = Strings({"pages": "{count} pages"})
    assert text("pages", count=3) == "3 pages"
    assert text("pages", count="<b>") == "&lt;b&gt; pages"
    assert text.has("pages")
    assert not text.has("books")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_words_of_their_own(template: Path) -> None:
    source = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", template.read_text(encoding="utf-8"), flags=re.DOTALL)
    between_tags = re.sub(r"<[^>]*>", " ", source)
    assert not re.findall(r"[^\W\d_]+", between_tags)


@pytest.mark.parametrize("key", TABLES["en"])
def test_every_string_is_used(key: str) -> None:
    sources = [*TEMPLATES, *(Path(megatron_recipe.__file__).parent / "report").glob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    prefix, _, name = key.rpartition(".")
    families = (f'"{prefix}." ~', f'f"{prefix}.', f'~ ".{name}"')
    assert f'"{key}"' in code or any(family in code for family in families), key
