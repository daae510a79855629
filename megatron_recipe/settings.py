"""Settings from YAML: sections that refuse unknown keys, files that extend one another, `--set` overrides.

`megatron_recipe.recipes` and `data_prep.recipes` are built on it. Every mistake is a ConfigError that names what was
meant.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from megatron_recipe.errors import ConfigError


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values don't change once a run has them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _off_is_a_word(cls, values: Any) -> Any:
        """YAML 1.1 reads `off` as false; where a field knows the word, it is meant."""
        if not isinstance(values, dict):
            return values
        words = {name for name, field in cls.model_fields.items() if "off" in get_args(field.annotation)}
        return {name: "off" if value is False and name in words else value for name, value in values.items()}


@dataclass(frozen=True)
class RecipeFolder:
    """YAML files of a kind that come with the project, beside those of the user.

    Args:
        folder: of the ``NAME.yaml`` files.
        hidden: names that others extend and nobody runs.
        kind: what messages call one.
    """

    folder: Path
    hidden: tuple[str, ...] = ("base",)
    kind: str = "recipe"

    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.yaml") if path.stem not in self.hidden)

    def read(self, recipe: str, extended_by: tuple[str, ...] = ()) -> dict[str, Any]:
        """The values of one, by name or path, with those it extends below them.

        Raises:
            ConfigError: there is no such file, it is no YAML mapping, or it extends itself.
        """
        if recipe in extended_by:
            chain = " extends ".join((*extended_by, recipe))
            raise ConfigError(f"{chain}: no file may extend itself; remove one of these extends: lines")
        path = self._find(recipe)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}; mend that line") from error
        if not isinstance(values, dict):
            example = self.folder / f"{self.names()[0]}.yaml"
            raise ConfigError(f"{path}: must be a mapping, not {type(values).__name__}; {example} shows the form")
        parent = values.pop("extends", None)
        return _merge(self.read(parent, (*extended_by, recipe)), values) if parent else values

    def _find(self, recipe: str) -> Path:
        is_path = recipe.endswith((".yaml", ".yml"))
        path = Path(recipe) if is_path else self.folder / f"{recipe}.yaml"
        if path.is_file():
            return path
        if is_path:
            raise ConfigError(f"{recipe}: no such file; known {self.kind}s: {', '.join(self.names())}")
        raise ConfigError(
            f"unknown {self.kind} {recipe!r}{suggestion(recipe, self.names())}; known: {', '.join(self.names())}, "
            "or give the path of a .yaml file"
        )


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, section by section."""
    merged = dict(below)
    for key, value in above.items():
        both_are_sections = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both_are_sections else value
    return merged


def split_override(override: str, example: str) -> tuple[list[str], Any]:
    """The path of names and the value, read as YAML, of one ``section.field=value``.

    Args:
        example: an override that is right, for the error.
    """
    name, equals, text = override.partition("=")
    path = name.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {override}: write it as section.field=value, for example {example}")
    try:
        return path, _number_or_value(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {override}: {text!r} is not a YAML value; quote it as in YAML, for example {example}"
        ) from error


def put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set one value in nested sections, which are made where they are not there."""
    for depth, name in enumerate(path[:-1], 1):
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            field = ".".join(path[:depth])
            raise ConfigError(f"--set {'.'.join(path)}: {field} is a field, not a section; write --set {field}=VALUE")
    values[path[-1]] = value


def _number_or_value(value: Any) -> Any:
    """YAML 1.1 reads `1e-3` as text; a user means the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def parse[Settings: Section](
    kind: type[Settings], values: dict[str, Any], origin: str, noun: str = "recipe"
) -> Settings:
    """Build the settings from plain values; `origin` names their file or recipe in errors, `noun` what it is.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [_explain(dict(problem), kind, noun) for problem in error.errors()]
        raise ConfigError(f"{origin}: " + "\n".join(problems)) from error


def _explain(problem: dict[str, Any], kind: type[BaseModel], noun: str) -> str:
    """One pydantic problem as field, value, rule and remedy."""
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _fields_of(location[:-1], kind)
        where = ".".join(location[:-1]) or f"the {noun}"
        return f"{name} is not known{suggestion(location[-1], known)}; {where} has: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"{name} is missing; set it in the {noun}" + (f" or with --set {name}=…" if noun == "recipe" else "")
    rule = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{name}={problem['input']!r}: {rule}"


def _fields_of(location: list[str], kind: Any) -> list[str]:
    """Field names of the section at `location`, a path of field names and list positions."""
    model = kind
    for part in location:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", ())
        model = arguments[0] if arguments else annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def suggestion(word: str, known: Sequence[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known word, or nothing."""
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Values by `section.field`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found
