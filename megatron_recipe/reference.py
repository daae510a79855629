"""The reference pages of the settings and commands, made from the code, so that they say what it does.

Run: python -m megatron_recipe.reference docs

It writes docs/config.md (training), docs/data_recipe.md (datasets) and docs/commands.md; a test compares them with the
code.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from megatron_recipe.console import say
from megatron_recipe.errors import ConfigError
from megatron_recipe.files import atomic_file
from megatron_recipe.reference_commands import CommandsPage
from megatron_recipe.settings import RecipeFolder

# Attributes of annotated-types' constraints, and how a range is written.
BOUNDS = (("ge", "≥ {}"), ("gt", "> {}"), ("le", "≤ {}"), ("lt", "< {}"), ("min_length", "at least {}"))
TYPE_NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path", Any: "any value"}


@dataclass(frozen=True)
class Page:
    """One reference page: its settings, and the recipes that set them."""

    file: str
    title: str
    settings: type[BaseModel]
    recipes: RecipeFolder
    folder: str
    """Of the recipes, as the page names it."""
    example: str
    """A command line that changes one field."""

    def text(self) -> str:
        """The page as Markdown."""
        names = self.recipes.names()
        values = {name: self.recipes.read(name) for name in names}
        lines = [
            f"# {self.title}",
            "",
            f"{first_paragraph(self.settings)} Every field below can be written in a YAML file that `extends:` a "
            f"recipe ([{self.folder}](../{self.folder})), or changed on the command line: `{self.example}`. "
            "An unknown name, a value of another type or out of its range is refused before anything starts.",
            "",
            "Made from the code by `python -m megatron_recipe.reference docs`; do not edit.",
        ]
        for path, section in sections(self.settings):
            lines += ["", f"## {'.'.join(path) or 'Top level'}", "", first_paragraph(section), ""]
            lines += ["| field | type and range | default | meaning | set by recipes |", "|---|---|---|---|---|"]
            for name, field in plain_fields(section):
                row = (f"`{name}`", type_and_range(field), default(field), meaning(section, name, field))
                lines.append("| " + " | ".join((*row, set_by(values, (*path, name)))) + " |")
        return "\n".join(lines) + "\n"


def sections(
    settings: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """All sections that have fields of their own, with their place; `[]` ends the name of a list's entries."""
    if list(plain_fields(settings)):
        yield path, settings
    for name, field in settings.model_fields.items():
        if (inner := section_of(field.annotation)) is not None:
            yield from sections(inner, (*path, name))
        elif (entry := entry_of(field.annotation)) is not None:
            yield from sections(entry, (*path, f"{name}[]"))


def plain_fields(section: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The fields that are values or lists, and no sections."""
    return ((name, field) for name, field in section.model_fields.items() if section_of(field.annotation) is None)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field is; None for a field that is a value."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def entry_of(annotation: Any) -> type[BaseModel] | None:
    """The section that each entry of a list is; None for other fields."""
    return section_of(get_args(annotation)[0]) if get_origin(annotation) in (list, tuple) else None


def first_paragraph(section: type[BaseModel]) -> str:
    """What a section is, in one line."""
    if not section.__doc__:
        raise ConfigError(f"{section.__name__} has no docstring: say in one line what the section is")
    return " ".join(section.__doc__.split("\n\n")[0].split())


def meaning(section: type[BaseModel], name: str, field: FieldInfo) -> str:
    """A field's docstring in one line. Raises ConfigError for a field without one."""
    if not field.description:
        raise ConfigError(f"{section.__name__}.{name} has no docstring: say what it means, its unit and its off-value")
    return " ".join(field.description.replace("``", "`").split()).replace("|", "\\|")


def type_and_range(field: FieldInfo) -> str:
    """What a value may be."""
    bounds = [
        words.format(f"{value:g}" if isinstance(value, float) else value)
        for attribute, words in BOUNDS
        for constraint in field.metadata
        if (value := getattr(constraint, attribute, None)) is not None
    ]
    patterns = [f"matching `{p}`" for c in field.metadata if (p := getattr(c, "pattern", None)) is not None]
    return ", ".join((type_words(field.annotation), *bounds, *patterns)).replace("|", "\\|")


def type_words(annotation: Any) -> str:
    """A type in words: `integer`, ``one of `a`, `b` ``, `list of texts`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in TYPE_NAMES:
        return TYPE_NAMES[annotation]
    if annotation is NoneType:
        return "null"
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    if origin in (Union, UnionType):
        return " or ".join(type_words(argument) for argument in arguments)
    if origin in (list, tuple):
        inner = arguments[0]
        return "list of sections" if section_of(inner) else f"list, each: {type_words(inner)}"
    if origin is dict:
        return f"mapping of {type_words(arguments[0])} to {type_words(arguments[1])}"
    raise ConfigError(f"no words for the type {annotation}: add it to megatron_recipe/reference.py")


def default(field: FieldInfo) -> str:
    """A default as YAML has it; a field without one must be set, or its meaning says what it is derived from."""
    if field.default_factory is list:
        return "`[]`"
    if field.default is PydanticUndefined:
        return "derived" if "by default" in (field.description or "") else "must be set"
    return shown(field.default)


def shown(value: Any) -> str:
    """A value as one writes it in YAML."""
    if value is None or isinstance(value, bool):
        return f"`{'null' if value is None else str(value).lower()}`"
    if isinstance(value, list | tuple | dict):
        return "empty" if not value else f"`{value}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def set_by(values: dict[str, dict[str, Any]], path: tuple[str, ...]) -> str:
    """The values that recipes give to the field at `path`, each with their names; lists and mappings by name alone."""
    recipes: dict[str, list[str]] = {}
    for name, settings in values.items():
        for value in values_at(settings, path):
            words = "" if isinstance(value, list | dict) else shown(value)
            if name not in recipes.setdefault(words, []):
                recipes[words].append(name)
    if list(map(len, recipes.values())) == [len(values)]:
        return f"{next(iter(recipes))} all".strip()
    return "; ".join(f"{words} {names_in_short(names)}".strip() for words, names in recipes.items())


def names_in_short(names: list[str]) -> str:
    """Names of recipes; one whose FP8 variant is there too stands for both: gpt_1b(_fp8)."""
    variant = "_fp8"
    shortened = [f"{name}({variant})" if f"{name}{variant}" in names else name for name in names]
    return ", ".join(
        word for word in shortened if word.removesuffix(variant) not in names or not word.endswith(variant)
    )


def values_at(settings: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """The values at a place in a recipe; several below a list, none where the recipe does not set it."""
    if not path:
        yield settings
        return
    name = path[0].removesuffix("[]")
    if not isinstance(settings, dict) or name not in settings:
        return
    entries = settings[name] if path[0].endswith("[]") else [settings[name]]
    for entry in entries:
        yield from values_at(entry, path[1:])


def pages() -> list[Page | CommandsPage]:
    """All reference pages."""
    from data_prep.recipe import RECIPES as DATA_RECIPES
    from data_prep.recipe import DataRecipe
    from megatron_recipe.cli import app
    from megatron_recipe.config import Config
    from megatron_recipe.recipes import RECIPES

    return [
        Page(
            file="config.md",
            title="Settings of a training run",
            settings=Config,
            recipes=RECIPES,
            folder="megatron_recipe/recipes",
            example="megatron-recipe train gpt_100m --set train.steps=2000",
        ),
        Page(
            file="data_recipe.md",
            title="Settings of a dataset",
            settings=DataRecipe,
            recipes=DATA_RECIPES,
            folder="data_prep/recipes",
            example="megatron-recipe data prepare --set deduplicate.near_threshold=0.9",
        ),
        CommandsPage(file="commands.md", app=app),
    ]


def write_reference(folder: Path) -> list[Path]:
    """Write all reference pages to `folder` and return their paths."""
    written = []
    for page in pages():
        path = folder / page.file
        with atomic_file(path) as file:
            file.write(page.text())
        written.append(path)
    return written


def reference_command(out: Path, dry_run: bool) -> None:
    """Write the pages to the folder `out` and say which; with `dry_run` say which would be written."""
    for path in [out / page.file for page in pages()] if dry_run else write_reference(out):
        say(f"would write {path}" if dry_run else str(path))


if __name__ == "__main__":
    reference_command(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"), dry_run=False)
