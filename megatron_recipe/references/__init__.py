"""Reference curves: what the loss of finished runs was, step by step, so that another run can be seen beside them.

Files of this folder, known by their names, or of the user; `megatron-recipe lab reference` makes them, and `watch` and
`report` draw them as a band.
"""

import json
from bisect import bisect_left
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from megatron_recipe.errors import ConfigError
from megatron_recipe.files import atomic_file
from megatron_recipe.settings import Section, parse, suggestion

FOLDER = Path(__file__).parent
FORMAT = 1


class Reference(Section):
    """One reference curve, as its file says it. Lists of a curve have an entry for each of its points."""

    format: Literal[1]
    """Of the file."""
    name: str = Field(min_length=1)
    """How it is called where it is drawn."""
    recipe: str
    """The recipe that its runs are nearest to."""
    overrides: dict[str, Any]
    """What its runs changed of that recipe, by `section.field`."""
    settings: dict[str, Any]
    """What another run must have in common with it, by `section.field`."""
    parameters: int = Field(gt=0)
    """Weights of the model, the vocabulary's included."""
    tokens_per_step: int = Field(gt=0)
    """Of the full batch."""
    share: float = Field(gt=0, lt=1)
    """Of the single records of its runs, those that lie between `low` and `high`."""
    steps: list[int] = Field(min_length=2)
    """Rising."""
    tokens: list[int]
    """Trained on up to each step."""
    low: list[float]
    """Lower end of the band, in nats a token."""
    median: list[float]
    """Middle of the band."""
    high: list[float]
    """Upper end of the band."""
    seeds: list[int] = Field(min_length=2)
    """Of its runs, one each."""
    held_out_losses: list[float | None]
    """The last held-out loss of each run; null where it has none."""
    datasets: list[dict[str, Any]]
    """Name, training tokens and SHA-256 of the tokens of each dataset, as far as it was there."""
    command: str
    """What makes one of its runs again."""
    date: str
    """Day of the last run's end."""
    hardware: str
    """The machine."""
    version: str
    """Commit of the code, or its version."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        lengths = {name: len(getattr(self, name)) for name in ("tokens", "low", "median", "high")}
        wrong = [f"{name} has {length}" for name, length in lengths.items() if length != len(self.steps)]
        if wrong:
            raise ValueError(f"each list of the curve has one entry a step ({len(self.steps)}), and {', '.join(wrong)}")
        if sorted(set(self.steps)) != self.steps:
            raise ValueError("steps must rise")
        return self

    def band_at(self, step: float) -> tuple[float, float] | None:
        """Lowest and highest usual loss of a single record at a step; None before the first and after the last."""
        after = bisect_left(self.steps, step)
        if after == len(self.steps) or step < self.steps[0]:
            return None
        before = max(after - 1, 0)
        width = self.steps[after] - self.steps[before] or 1
        share = (step - self.steps[before]) / width
        low, high = (
            values[before] + share * (values[after] - values[before]) if before != after else values[after]
            for values in (self.low, self.high)
        )
        return low, high


def reference_names() -> list[str]:
    """Names of the references that come with the project, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_reference(name_or_file: str) -> Reference:
    """The reference of that name, or in that JSON file.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    is_path = name_or_file.endswith(".json")
    path = Path(name_or_file) if is_path else FOLDER / f"{name_or_file}.json"
    if not path.is_file():
        known = reference_names()
        what = "no such file" if is_path else f"no reference of this name{suggestion(name_or_file, known)}"
        raise ConfigError(
            f"--reference {name_or_file}: {what}; there are {', '.join(known)}; or give the .json file that "
            "`megatron-recipe lab reference RUN RUN --out FILE` made"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"--reference {name_or_file}: no valid JSON ({error}); make it again") from error
    try:
        return parse(Reference, values, f"--reference {name_or_file}", "reference")
    except ConfigError as error:
        reason = str(error).partition("; ")[0]  # nobody writes such a file by hand
        raise ConfigError(f"{reason}; make it again: `megatron-recipe lab reference RUN RUN --out FILE`") from error


def write_reference(reference: Reference, path: Path) -> None:
    """Write the reference's file, a line for each field, so that a change of it can be read."""
    lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in reference.model_dump(mode="json").items())
    with atomic_file(path) as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
