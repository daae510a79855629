"""Comparison files: which settings of a recipe are run against each other, on which seeds, for how many tokens.

Ready ones lie in `comparisons/`; a user's own is any YAML file of the same form. A resolved one, `plan.yaml` in the
folder of a comparison, is such a file too, and repeats it.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from megatron_recipe.errors import ConfigError
from megatron_recipe.settings import RecipeFolder, Section, parse

FILES = RecipeFolder(Path(__file__).parent / "comparisons", hidden=(), kind="comparison")


class Words(Section):
    """The same text in both languages."""

    en: str = ""
    """In English."""
    zh: str = ""
    """In Chinese."""


class Setting(Section):
    """One of the things that are compared."""

    label: str = Field(min_length=1)
    """Its name in tables, pages and folders."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Its values, by `section.field`, over those of the comparison. A field that is a fraction of the run may be given
    as `1000 steps`: so many of the recipe `full_run`."""
    seeds: list[int] = Field(default_factory=list)
    """Its own seeds; empty takes those of the comparison. Settings that share seeds are compared seed by seed."""


class Comparison(Section):
    """A comparison, as its file says it. Of `settings`, `grid` and `mixes` it has one."""

    name: str = ""
    """Its name; empty takes the file's."""
    title: Words = Words()
    """What is compared, in a few words."""
    why: Words = Words()
    """What the answer is good for."""
    hypothesis: Words = Words()
    """What is expected, written down before it is measured."""
    recipe: str = "gpt_tiny_cpu"
    """Name or file of the recipe that all settings begin with (`--recipe`)."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Values for all settings, by `section.field` (`--set`)."""
    settings: list[Setting] = Field(default_factory=list)
    """What is compared, one by one."""
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    """Values of some fields: every combination of them is a setting."""
    mixes: Literal["each_alone"] | dict[str, dict[str, float]] | None = None
    """Shares of the `sources`, by the setting's label; `each_alone` makes a setting of each source."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Dataset folders by name (`--data NAME=FOLDER`); all settings are measured on the held-out text of each."""
    seeds: list[int] = Field(default=[1, 2, 3], min_length=1)
    """Each seeds the initial weights and the order of the samples of one run of every setting (`--seeds`)."""
    tokens_per_run: int | None = Field(default=None, gt=0)
    """Training tokens of every run (`--tokens`); null takes the recipe's."""
    least_steps: int = Field(default=0, ge=0)
    """Global batches of the settings are all halved until the largest one makes so many steps; 0 leaves them."""
    full_run: str | None = None
    """Recipe whose length `1000 steps` refers to; null takes `recipe`."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the intervals, all pairs of a measure together (`--confidence`)."""
    target_loss: float | None = Field(default=None, gt=0)
    """Held-out loss whose first step is looked for (`--target-loss`); null looks for none."""

    @field_validator("seeds")
    @classmethod
    def _each_seed_once(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands twice; the same run again would only pretend to be more evidence")
        return seeds


def comparison_names() -> list[str]:
    """Names of the ready comparisons, sorted."""
    return FILES.names()


def read_comparison(name_or_file: str) -> Comparison:
    """The comparison of that name, or in that YAML file.

    Raises:
        ConfigError: there is none, or a field of it is wrong.
    """
    values = FILES.read(name_or_file)
    comparison = parse(Comparison, {"name": Path(name_or_file).stem, **values}, name_or_file, FILES.kind)
    _check(comparison, name_or_file)
    return comparison


def _check(comparison: Comparison, origin: str) -> None:
    given = [name for name in ("settings", "grid", "mixes") if getattr(comparison, name)]
    if len(given) != 1:
        raise ConfigError(
            f"{origin}: a comparison has one of settings, grid and mixes, this one has {' and '.join(given) or 'none'}"
        )
    if len(comparison.settings) == 1:
        raise ConfigError(f"{origin}: settings has one entry, and a comparison needs two; add another setting")
    for label in {setting.label for setting in comparison.settings}:
        if sum(setting.label == label for setting in comparison.settings) > 1:
            raise ConfigError(f"{origin}: two settings have the label {label!r}; give each one its own")
