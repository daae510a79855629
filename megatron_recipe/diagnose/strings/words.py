"""The words of one check."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckWords:
    """What is said of a check, in one language; `{NAME}` stands for a limit of the code."""

    title: str
    phenomenon: str
    criterion: str
    causes: str
    checks: str
    remedies: str
