"""Whether an incident is seen in a run: its criterion, computed from the run's own metrics."""

import math
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe.diagnose.criteria import CRITERIA, Result, judge
from megatron_recipe.diagnose.criterion import STATES, Evidence
from megatron_recipe.diagnose.reading import read_facts
from megatron_recipe.diagnose.signals import Signals
from megatron_recipe.errors import ConfigError
from megatron_recipe.lab.incident import Condition, Incident
from megatron_recipe.lab.incident_measures import measure, require_known

RECOVERED = 1.03
"""A remedy's held-out loss over the control's, at most."""


@dataclass(frozen=True)
class Held:
    """What one condition says of a run."""

    holds: bool | None
    """None: what it asks for was not recorded."""
    evidence: tuple[Evidence, ...]
    check: str = ""
    """The check of `diagnose` that the evidence is from."""


@dataclass(frozen=True)
class Judged:
    """What a criterion says of a run."""

    conditions: tuple[Held, ...]

    @property
    def seen(self) -> bool | None:
        """Whether all conditions hold; None where one could not be looked at and no other one fails."""
        states = [one.holds for one in self.conditions]
        return False if False in states else None if None in states else True


class Look:
    """A run's folder, read once for all that is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.signals = Signals(read_facts(folder))
        self.results: list[Result] = judge(self.signals)

    def measure(self, name: str) -> float | None:
        """A figure of `incident_measures`."""
        return measure(name, self.signals)

    @property
    def diagnosis(self) -> list[str]:
        """What `diagnose` finds wrong, most likely first; where nothing is, what asks for attention."""
        found = {state: [one for one in self.results if one.finding.state == state] for state in ("wrong", "attention")}
        return [one.criterion.name for one in found["wrong"] or found["attention"]]


def judged(incident: Incident, run: Path, control: Path) -> Judged:
    """What the incident's criterion says of the run in folder `run`.

    Args:
        control: folder of the healthy run that the criterion's comparisons are with.

    Raises:
        DataError: one of them is no run folder.
    """
    return judge_look(incident, Look(run), Look(control))


def judge_look(incident: Incident, run: Look, control: Look) -> Judged:
    """`judged` of folders that were read before."""
    return Judged(tuple(_held(condition, run, control) for condition in incident.criterion))


def require_known_names(incident: Incident) -> None:
    """Raise ConfigError for a criterion that names a check or a figure that there is not."""
    known = {criterion.name for criterion in CRITERIA}
    for condition in incident.criterion:
        if unknown := sorted(set(condition.checks) - known):
            raise ConfigError(
                f"{incident.name}: criterion.checks={unknown[0]}: `diagnose` has no such check; it has "
                f"{', '.join(sorted(known))}"
            )
        if condition.measure:
            require_known(condition.measure)


def _held(condition: Condition, run: Look, control: Look) -> Held:
    return _checks_held(condition, run) if condition.checks else _measure_held(condition, run, control)


def _checks_held(condition: Condition, run: Look) -> Held:
    enough = STATES[: STATES.index(condition.state) + 1]
    asked = [one for one in run.results if one.criterion.name in condition.checks]  # what holds stands first
    measured = [one for one in asked if one.finding.state != "not measured"]
    if not measured:
        return Held(None, (), condition.checks[0])
    first = measured[0]
    return Held(first.finding.state in enough, first.finding.evidence, first.criterion.name)


def _measure_held(condition: Condition, run: Look, control: Look) -> Held:
    value, healthy = run.measure(condition.measure), control.measure(condition.measure)
    limit = condition.above if condition.above is not None else condition.below
    assert limit is not None
    sign = "≤" if condition.above is not None else "≥"
    if value is None or (healthy is None and condition.of != "value"):
        return Held(None, ())
    bound, words = limit, f"{sign} {limit:g}"
    if condition.of == "times the control" and healthy is not None:
        bound, words = limit * healthy, f"{sign} {limit * healthy:.4g} = {limit:g} × {healthy:.4g}"
    elif condition.of == "more than the control" and healthy is not None:
        bound, words = healthy + limit, f"{sign} {healthy + limit:.4g} = {healthy:.4g} + {limit:g}"
    holds = value > bound if condition.above is not None else value < bound
    return Held(holds, (Evidence(condition.measure, value, words),))


def recovered(remedy: Look, control: Look) -> float | None:
    """The remedy's held-out loss over the control's; None where one of them has none."""
    loss, healthy = remedy.measure("held_out_loss"), control.measure("held_out_loss")
    if loss is None or healthy is None or not math.isfinite(healthy):
        return None
    return loss / healthy
