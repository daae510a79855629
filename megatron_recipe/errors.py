"""Errors meant for the user: the command line prints the message alone and exits with 2.

A message names the field, its value, the rule it breaks and the remedy:
``ConfigError("parallel.tensor=3 must divide model.num_heads=16; use 1, 2, 4, 8 or 16")``.
"""

from pathlib import Path


class RecipeError(Exception):
    """Base of all errors that a user can mend; never raised itself."""


class ConfigError(RecipeError):
    """A recipe, an override or a command-line value is wrong."""


class DataError(RecipeError):
    """A text source, a dataset or a tokenizer is wrong."""


class CheckpointError(RecipeError):
    """A checkpoint or an exported model is missing, damaged or of another architecture."""


class MachineError(RecipeError):
    """The machine lacks something: disk space, a package, a GPU."""


class StabilityError(RecipeError):
    """Training went wrong in a way that the run could not mend by itself."""


def in_short(error: BaseException) -> str:
    """Kind and reason of an error in a message: its own representation may hold a whole file."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def no_run(folder: Path) -> DataError:
    """The error of a command that reads runs, for another folder."""
    return DataError(f"{folder} is no run: it has no config.yaml; name a folder made by `megatron-recipe train`")
