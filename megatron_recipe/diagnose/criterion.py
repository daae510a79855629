"""What a check is, and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from megatron_recipe.diagnose.signals import Signals

State = Literal["wrong", "attention", "ok", "not measured"]
STATES: tuple[State, ...] = ("wrong", "attention", "ok", "not measured")
GROUPS = ("training", "data", "model", "machine", "safety")


@dataclass(frozen=True)
class Evidence:
    """One figure that a check rests on."""

    metric: str
    """Field of metrics.jsonl or config.yaml, event of events.jsonl, or `step seconds` and the like."""
    value: float | str
    limit: str = ""
    """What the value is held against, such as `< 0.5`."""
    first_step: int | None = None
    last_step: int | None = None


@dataclass(frozen=True)
class Finding:
    """What a check says of a run."""

    state: State
    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()
    """Names of causes that the figures point to; each has a text `note.NAME`."""


Judge = Callable[[Signals], Finding]
NOT_MEASURED = Finding("not measured")


@dataclass(frozen=True)
class Criterion:
    """A check. Its words (title, phenomenon, criterion, causes, checks, remedies) are in `strings`, under its name."""

    name: str
    group: str
    rank: int
    """Place among what is found in the same state: causes stand before what they lead to."""
    judge: Judge


def state_of(wrong: bool, attention: bool = False) -> State:
    """The worse of the two that holds."""
    return "wrong" if wrong else "attention" if attention else "ok"
