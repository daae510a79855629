"""Which benchmarks there are, how they are run and what others scored: suites.yaml and references.yaml.

Imports no heavy library, so that --dry-run and mistakes answer at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from megatron_recipe.errors import ConfigError

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Benchmark:
    """One row of suites.yaml, which explains the fields."""

    name: str
    harness: str
    folder: str
    data: tuple[str, ...]
    splits: tuple[str, ...]
    shots: int
    shots_as_in: str
    metric: str
    chance: float
    subjects: bool = False
    column: str | None = None
    examples: str | None = None
    per_answer: int | None = None
    """Questions of each right answer and subject, the same ones always; None takes all."""
    download: str | None = None
    """The set of `megatron-recipe eval download`; None: of the same name."""


@dataclass(frozen=True)
class Reference:
    """A published score, in percent."""

    model: str
    tokens: str
    score: float
    note: str
    source: str


@cache
def _suites() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((HERE / "suites.yaml").read_text(encoding="utf-8"))
    return content


def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks by name."""
    return {
        name: Benchmark(name, **{**row, "data": tuple(row["data"]), "splits": tuple(row["splits"])})
        for name, row in _suites()["tasks"].items()
    }


def choose(suites: Sequence[str], tasks: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of some suites and single ones, each once. Raises ConfigError for an unknown name or none."""
    known, of_suite = benchmarks(), _suites()["suites"]
    for name, names, option in [(s, of_suite, "--suite") for s in suites] + [(t, known, "--task") for t in tasks]:
        if name not in names:
            raise ConfigError(f"{option} {name} is not known; known are {', '.join(names)}")
    chosen = [task for suite in suites for task in of_suite[suite]] + list(tasks)
    if not chosen:
        raise ConfigError(f"nothing to run; give --suite ({', '.join(of_suite)}) or --task ({', '.join(known)})")
    return [known[name] for name in dict.fromkeys(chosen)]


def named(names: Sequence[str], field: str) -> list[Benchmark]:
    """The benchmarks of names that may be suites or single ones, each once. Raises ConfigError that names `field`."""
    known, of_suite = benchmarks(), _suites()["suites"]
    for name in names:
        if name not in known and name not in of_suite:
            raise ConfigError(
                f"{field}: {name} is not known; suites are {', '.join(of_suite)}, tasks {', '.join(known)}"
            )
    return choose([name for name in names if name in of_suite], [name for name in names if name in known])


def references(task: str) -> list[Reference]:
    """Published scores of a benchmark; those of the whole MMLU stand beside its light subset too."""
    name = "mmlu" if task == "mmlu_light" else task
    rows = yaml.safe_load((HERE / "references.yaml").read_text(encoding="utf-8"))
    return [
        Reference(row["model"], row["tokens"], row["scores"][name], row.get("notes", {}).get(name, ""), row["source"])
        for row in rows
        if name in row["scores"]
    ]
