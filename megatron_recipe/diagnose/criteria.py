"""All checks, and what they say of a run in the order of its likeliest causes."""

from dataclasses import dataclass

from megatron_recipe.diagnose.criterion import STATES, Criterion, Finding
from megatron_recipe.diagnose.of_accidents import ACCIDENTS
from megatron_recipe.diagnose.of_course import COURSE
from megatron_recipe.diagnose.of_machine import MACHINE
from megatron_recipe.diagnose.of_model import DATA, MODEL
from megatron_recipe.diagnose.of_safety import SAFETY
from megatron_recipe.diagnose.signals import Signals

CRITERIA: tuple[Criterion, ...] = (*COURSE, *DATA, *MODEL, *MACHINE, *SAFETY, *ACCIDENTS)


@dataclass(frozen=True)
class Result:
    """A check with what it found."""

    criterion: Criterion
    finding: Finding


def judge(signals: Signals) -> list[Result]:
    """What all checks say: the wrong ones first, then what asks for attention, what is well, what was not measured.

    Within a state, causes come before what they lead to (`Criterion.rank`).
    """
    results = [Result(criterion, criterion.judge(signals)) for criterion in CRITERIA]
    return sorted(results, key=lambda one: (STATES.index(one.finding.state), -one.criterion.rank))
