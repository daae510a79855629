"""Incident files: how a healthy training is broken, how it is seen in the metrics, why it happens, what mends it.

Ready ones lie in `incidents/`; a user's own is any YAML file of the same form.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from megatron_recipe.both_languages import Text
from megatron_recipe.lab.accident_data import BadStretch, OtherTokenizer, TrainedWeights, Unshuffled
from megatron_recipe.lab.accident_process import DecayNorms, MemoryLimit, SlowReading
from megatron_recipe.lab.accident_strikes import NodeKilled
from megatron_recipe.lab.incident_changes import Settings
from megatron_recipe.lab.incident_half import Half, PureHalf
from megatron_recipe.settings import RecipeFolder, Section, parse

FILES = RecipeFolder(Path(__file__).parent / "incidents", hidden=(), kind="incident")

AnyChange = Annotated[
    Settings
    | Half
    | PureHalf
    | BadStretch
    | OtherTokenizer
    | Unshuffled
    | TrainedWeights
    | DecayNorms
    | SlowReading
    | MemoryLimit
    | NodeKilled,
    Field(discriminator="kind"),
]
"""Every kind of change. A new kind is a class beside `Settings`, named here."""


class Condition(Section):
    """One thing that must hold for an incident to be seen: checks of `diagnose`, or a figure beside a limit."""

    checks: list[str] = Field(default_factory=list)
    """Names of checks; one of them has to find what it is for."""
    state: Literal["wrong", "attention"] = "wrong"
    """What it has to say at least."""
    measure: str = ""
    """A figure of a run (`lab/incident_measures.py`), such as `held_out_loss` or `update_ratio.highest`."""
    above: float | None = None
    """The figure is more than this,"""
    below: float | None = None
    """or less than this,"""
    of: Literal["value", "times the control", "more than the control"] = "value"
    """as it stands, as a multiple of the control's, or as the difference from the control's."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "Condition":
        limits = sum(limit is not None for limit in (self.above, self.below))
        if bool(self.checks) == bool(self.measure) or (limits != 1 if self.measure else limits):
            raise ValueError("a condition has either checks, or a measure with one of above and below")
        return self


class Remedy(Section):
    """What mends it."""

    text: Text
    """What is done."""
    change: list[AnyChange] = Field(default_factory=list)
    """How the remedy's run differs from the healthy one. What happens to it as it did to the incident's (bad data, a
    kill) stands here again; what is put right does not."""
    recovers: bool = True
    """Whether its loss has to end within 3 % of the control's."""


class Incident(Section):
    """An incident, as its file says it."""

    name: str = Field(pattern=r"^[\w.+-]+$")
    """Its name, and its folder's; without one it takes the file's."""
    title: Text
    """What is done wrong, in a few words."""
    needs: Literal["cpu", "gpu"] = "cpu"
    """`gpu`: it can't be shown on a CPU."""
    every_run: dict[str, Any] = Field(default_factory=dict)
    """Values by `section.field` for control, incident and remedy alike. Incidents with equal ones share a control."""
    change: list[AnyChange] = Field(min_length=1)
    """What is done to the incident's run."""
    phenomenon: Text
    """What one sees."""
    criterion: list[Condition] = Field(min_length=1)
    """How it is recognised in the metrics: all of them hold."""
    cause: Text
    """Why it happens."""
    remedy: Remedy
    """What mends it."""
    learned: Text
    """What one takes away from it."""
    seen_at: Text
    """At which scale it is seen, where it is not seen at this one."""


def incident_names() -> list[str]:
    """Names of the ready incidents, sorted."""
    return FILES.names()


def read_incident(name_or_file: str) -> Incident:
    """The incident of that name, or in that YAML file.

    Raises:
        ConfigError: there is none, or a field of it is wrong.
    """
    values = FILES.read(name_or_file)
    return parse(Incident, {"name": Path(name_or_file).stem, **values}, name_or_file, FILES.kind)
