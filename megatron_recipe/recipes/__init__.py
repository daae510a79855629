"""Recipes: YAML files of this folder or of the user, resolved into a `Config`.

A recipe may `extends:` another one and states only what differs. `--set section.field=value` overrides come last.
Every mistake is a ConfigError that names what was meant.
"""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.files import atomic_file

FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """Names of the recipes that come with the project, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "base")


def load_config(recipe: str, overrides: tuple[str, ...] = ()) -> Config:
    """Resolve a recipe name or a YAML file's path, then the `section.field=value` overrides.

    Raises ConfigError for an unknown recipe, an unknown key, a value of the wrong type or out of range.
    """
    values = _read_recipe(recipe)
    for override in overrides:
        _apply_override(values, override)
    return parse_config(values, recipe)


def parse_config(values: dict[str, Any], origin: str) -> Config:
    """Build the Config from plain values; `origin` names their file or recipe in errors."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_explain(dict(problem)) for problem in error.errors()]
        raise ConfigError(f"{origin}: " + "\n".join(problems)) from error


def write_config(config: Config, path: Path) -> None:
    """Write the resolved configuration as YAML that `load_config` reads back to an equal Config."""
    with atomic_file(path) as file:
        yaml.safe_dump(config.model_dump(mode="json"), file, sort_keys=False, allow_unicode=True)


def _read_recipe(recipe: str, extended_by: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of a recipe with those it extends below them."""
    if recipe in extended_by:
        chain = " extends ".join((*extended_by, recipe))
        raise ConfigError(f"{chain}: a recipe must not extend itself; remove one of these extends: lines")
    is_path = recipe.endswith((".yaml", ".yml"))
    path = Path(recipe) if is_path else FOLDER / f"{recipe}.yaml"
    if not path.is_file():
        if is_path:
            raise ConfigError(f"{recipe}: no such file; known recipes: {', '.join(recipe_names())}")
        raise ConfigError(
            f"unknown recipe {recipe!r}{_suggestion(recipe, recipe_names())}; known: {', '.join(recipe_names())}, "
            "or give the path of a .yaml file"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of sections (model, data, …), not {type(values).__name__}")
    parent = values.pop("extends", None)
    return _merge(_read_recipe(parent, (*extended_by, recipe)), values) if parent else values


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, section by section."""
    merged = dict(below)
    for key, value in above.items():
        both_are_sections = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both_are_sections else value
    return merged


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Put one `section.field=value` into `values`; the value is read as YAML. `data.datasets=PATH` is one dataset."""
    name, equals, text = override.partition("=")
    section, dot, field = name.strip().partition(".")
    if not (equals and dot and field):
        raise ConfigError(f"--set {override}: write it as section.field=value, for example train.steps=100")
    try:
        value = _number_or_value(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: {text!r} is not a YAML value") from error
    if name.strip() == "data.datasets" and isinstance(value, str):
        value = [{"path": path} for path in value.split(",")]
    target = values.setdefault(section, {})
    if not isinstance(target, dict):
        raise ConfigError(f"--set {override}: {section} is not a section")
    target[field] = value


def _number_or_value(value: Any) -> Any:
    """YAML 1.1 reads `1e-3` as text; a user means the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _explain(problem: dict[str, Any]) -> str:
    """One pydantic problem as field, value, rule and remedy."""
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _fields_of(location[:-1])
        where = ".".join(location[:-1]) or "the recipe"
        return f"{name} is not known{_suggestion(location[-1], known)}; {where} has: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"{name} is missing; set it in the recipe or with --set {name}=…"
    rule = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{name}={problem['input']!r}: {rule}"


def _fields_of(location: list[str]) -> list[str]:
    """Field names of the section at `location`, a path of field names and list positions."""
    model: Any = Config
    for part in location:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", ())
        model = arguments[0] if arguments else annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _suggestion(word: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
