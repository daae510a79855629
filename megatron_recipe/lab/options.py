"""The options of `lab compare` over what a comparison's file says."""

from typing import Any

from megatron_recipe.budget import parse_price
from megatron_recipe.errors import ConfigError
from megatron_recipe.lab.asked import Asked
from megatron_recipe.lab.comparison import FILES, Comparison, read_comparison
from megatron_recipe.settings import parse, split_override


def comparison_of(asked: Asked) -> Comparison:
    """The comparison that was asked for.

    Raises:
        ConfigError: an option that cannot be read, or does not go with this comparison.
    """
    comparison = read_comparison(asked.name)
    _require_common(comparison, _overrides(asked))
    overrides = {**comparison.overrides, **_overrides(asked)}
    changes: dict[str, Any] = {"overrides": overrides}
    if asked.data:
        changes["sources"] = dict(_source(text) for text in asked.data)
    if asked.mixes:
        if not comparison.mixes:
            raise ConfigError(f"--mix: {comparison.name} compares no mixes; use data_mix, or a file with mixes:")
        changes["mixes"] = dict(_mix(text) for text in asked.mixes)
    if asked.dataset and comparison.mixes:
        raise ConfigError(f"--dataset: {comparison.name} compares several; give each as --data NAME=FOLDER")
    if asked.tokens is not None:
        changes["tokens_per_run"] = int(asked.tokens)
    if asked.seeds is not None:
        changes["seeds"] = _seeds(asked.seeds)
    for name in ("recipe", "confidence", "target_loss"):
        if (value := getattr(asked, name)) is not None:
            changes[name] = value
    return parse(Comparison, {**comparison.model_dump(), **changes}, f"lab compare {asked.name}", FILES.kind)


def _require_common(comparison: Comparison, overrides: dict[str, Any]) -> None:
    """Raise ConfigError for a value of all settings that each of them sets itself."""
    own = {name for setting in comparison.settings for name in setting.overrides} | set(comparison.grid)
    for name in sorted(own & set(overrides)):
        raise ConfigError(
            f"--set {name}={overrides[name]}: the settings of {comparison.name} differ in that; leave it out, or write "
            "a comparison of your own with other values (megatron-recipe lab list)"
        )


def _overrides(asked: Asked) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in asked.overrides:
        path, value = split_override(text, "model.num_layers=6")
        found[".".join(path)] = value
    if asked.dataset:
        found["data.datasets"] = asked.dataset
    if asked.price:
        found.update({f"budget.{name}": value for name, value in parse_price(asked.price).items()})
    return found


def _source(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ConfigError(f"--data {text}: write it as NAME=FOLDER, for example novels=datasets/novels")
    return name, folder


def _mix(text: str) -> tuple[str, dict[str, float]]:
    """A mix, labelled by how it is written."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition(":")
        try:
            shares[name.strip()] = float(share or 1)
        except ValueError:
            shares[name.strip()] = 0.0
    if "" in shares or any(not share > 0 for share in shares.values()):
        raise ConfigError(f"--mix {text}: write names and shares above 0, for example novels:2,news:1")
    return text, shares


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {text}: write whole numbers, for example 1,2,3") from error
