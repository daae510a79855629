"""Recipes: YAML files of this folder or of the user, resolved into a `Config`.

A recipe may `extends:` another one and states only what differs. `--set section.field=value` overrides come last.
Every mistake is a ConfigError that names what was meant.
"""

from pathlib import Path
from typing import Any

import yaml

from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.files import atomic_file
from megatron_recipe.settings import RecipeFolder, parse, put, split_override

RECIPES = RecipeFolder(Path(__file__).parent)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the project, sorted."""
    return RECIPES.names()


def one_of(command: str, recipe: str | None, config_file: Path | None) -> str:
    """What `load_config` takes, of a command's two ways to name it. Raises ConfigError for none and for both."""
    if (recipe is None) == (config_file is None):
        known = ", ".join(recipe_names())
        raise ConfigError(f"{command} takes a recipe or --config FILE, one of them; known recipes: {known}")
    return recipe or str(config_file)


def load_config(recipe: str, overrides: tuple[str, ...] = ()) -> Config:
    """Resolve a recipe name or a YAML file's path, then the `section.field=value` overrides.

    `data.datasets=PATH` is one dataset, `PATH,PATH` are two of equal weight, `FILE.yaml` is a mix from `data blend`.

    Raises ConfigError for an unknown recipe, an unknown key, a value of the wrong type or out of range.
    """
    values = RECIPES.read(recipe)
    for override in overrides:
        path, value = split_override(override, "train.steps=100")
        if path == ["data", "datasets"] and isinstance(value, str):
            value = _read_blend(value) if value.endswith(".yaml") else [{"path": path} for path in value.split(",")]
        put(values, path, value)
    return parse_config(values, recipe)


def _read_blend(path: str) -> Any:
    section = RECIPES.read(path).get("data")
    if not isinstance(section, dict) or "datasets" not in section:
        raise ConfigError(f"{path}: has no data.datasets; write a mix with `megatron-recipe data blend`")
    return section["datasets"]


def parse_config(values: dict[str, Any], origin: str) -> Config:
    """Build the Config from plain values; `origin` names their file or recipe in errors."""
    return parse(Config, values, origin)


def write_config(config: Config, path: Path) -> None:
    """Write the resolved configuration as YAML that `load_config` reads back to an equal Config."""
    with atomic_file(path) as file:
        yaml.safe_dump(config.model_dump(mode="json"), file, sort_keys=False, allow_unicode=True)
