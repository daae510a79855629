"""Evidence: what was found in the user's folder, with its file and its figures. Recognisers are looked up here by name.

A task of the plan names its evidence as `dataset` or, with an argument, as `run_ended:small`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megatron_recipe.month.folder import Folder

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """One piece of evidence.

    Attributes:
        kind: the recogniser's name, and the key of its sentence in the words.
        file: relative to the user's folder.
        values: the figures, as they stand in the file or follow from it.
    """

    kind: str
    file: str
    values: Values


Recogniser = Callable[[Folder, str], Found | None]
"""Looks for one kind of evidence; the second argument is what stands after the colon, or nothing."""


def recognisers() -> dict[str, Recogniser]:
    """All of them, by name."""
    from megatron_recipe.month import of_data, of_experiments, of_machine, of_model, of_training

    tables = (of_machine.TABLE, of_data.TABLE, of_training.TABLE, of_model.TABLE, of_experiments.TABLE)
    return {name: one for table in tables for name, one in table.items()}


def look(evidence: str, folder: Folder) -> Found | None:
    """Look for one piece of evidence, `kind` or `kind:argument`.

    A file of another shape than the program writes is told of in `folder.problems` and is no evidence.
    """
    kind, _, argument = evidence.partition(":")
    try:
        return recognisers()[kind](folder, argument)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        folder.problems[evidence] = f"a file has another form than expected ({type(error).__name__}: {error})"
        return None
