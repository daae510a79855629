"""docs/from_others.md: fields of ours exist and have these defaults, names of others are theirs."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from doc_pages import DOCS, text_of
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from megatron_recipe.config import Config
from megatron_recipe.recipes import recipe_names

PAGES = {"en": DOCS / "from_others.md", "zh": DOCS / "from_others.zh-CN.md"}
BOTH = pytest.mark.parametrize("lang", PAGES)
CODE = re.compile(r"`([^`]+)`")
SECTION = re.compile(r"^## (.+?)[:：].*$", re.MULTILINE)
OWN_FIELD = re.compile(r"`([a-z]+\.[a-z0-9_]+(?:=\S+?)?)`")
UNSET = "—"


def tables(text: str) -> dict[str, list[list[str]]]:
    """The rows of the table in each section that translates another program, by its name."""
    places = [*SECTION.finditer(text)]
    ends = [place.start() for place in places[1:]] + [len(text)]
    found = {}
    for place, end in zip(places, ends, strict=True):
        lines = [line for line in text[place.end() : end].splitlines() if line.startswith("|")]
        found[place[1]] = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return found


def default_of(name: str) -> Any:
    """The default of `section.field`; UNSET where it has none, KeyError where there is no such field."""
    section, _, field = name.partition(".")
    model = Config.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    default = model.model_fields[field].default
    return UNSET if default is PydanticUndefined else default


def shown(default: Any) -> str:
    """A default as the page writes it."""
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return f"{default:g}" if isinstance(default, float) else str(default)


@BOTH
def test_four_programs_are_translated(lang: str) -> None:
    found = tables(text_of(PAGES[lang]))
    assert list(found) == ["DeepSpeed", "Megatron-LM", "LitGPT", "transformers"]
    assert [len(rows) > 20 for rows in found.values()] == [True] * 4
    assert [len(rows) for rows in found.values()] == [len(rows) for rows in tables(text_of(PAGES["en"])).values()]


@BOTH
def test_every_field_exists_and_has_the_default_that_stands_beside_it(lang: str) -> None:
    wrong = []
    for program, rows in tables(text_of(PAGES[lang])).items():
        for theirs, ours, default, _ in rows:
            fields = [code for code in CODE.findall(ours) if re.fullmatch(r"[a-z]+\.[a-z0-9_]+", code)]
            stated = [
                UNSET if part.strip() == UNSET else part.strip(" `") for part in default.split(",") if part.strip()
            ]
            actual = [default_of(field) for field in fields]
            if stated != [one if one is UNSET else shown(one) for one in actual]:
                wrong.append(f"{program} {theirs}: {default} on the page, {actual} in the code")
    assert wrong == []


@BOTH
def test_every_field_and_recipe_in_the_text_exists(lang: str) -> None:
    text = text_of(PAGES[lang])
    sections = set(Config.model_fields)
    named = {code.partition("=")[0] for code in OWN_FIELD.findall(re.sub(r"^\| `.*?\|", "|", text, flags=re.MULTILINE))}
    own = [name for name in named if name.partition(".")[0] in sections]
    assert len(own) > 40
    for name in own:
        default_of(name)
    recipes = set(re.findall(r"`(gpt_\w+)`", text))
    assert recipes and recipes <= set(recipe_names())


@BOTH
def test_the_same_rows_in_both_languages(lang: str) -> None:
    english = tables(text_of(PAGES["en"]))
    for program, rows in tables(text_of(PAGES[lang])).items():
        assert [CODE.findall("|".join(row[:3])) for row in rows] == [
            CODE.findall("|".join(row[:3])) for row in english[program]
        ]


@cache
def package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = find_spec(name)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def annotated_names(path: Path) -> set[str]:
    """Names with an annotation in the classes of a file: the fields of dataclasses."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def test_names_of_transformers_are_its_own() -> None:
    known = annotated_names(package("transformers") / "training_args.py")
    named = {name for row in tables(text_of(PAGES["en"]))["transformers"] for name in CODE.findall(row[0])}
    assert len(named) > 25
    assert named - known == set()


def test_names_of_megatron_are_its_own() -> None:
    folder = package("megatron")
    files = [*(folder / "training").rglob("*.py"), *(folder / "core").glob("*.py")]
    files += [*(folder / "core/transformer").glob("*config*.py"), *(folder / "core/optimizer").glob("*config*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    named = {name for row in tables(text_of(PAGES["en"]))["Megatron-LM"] for name in CODE.findall(row[0])}
    assert len(named) > 50
    field = {name: name.removeprefix("--").replace("-", "_") for name in named}
    unknown = [
        name
        for name in named
        if f"'{name}'" not in text
        and f'"{name}"' not in text
        and not re.search(rf"^    {field[name]}:", text, re.MULTILINE)
        and f'"{field[name]}"' not in text
    ]
    assert unknown == []
