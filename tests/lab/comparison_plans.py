"""Comparisons of tests, and the runs that they stand for."""

from pathlib import Path

import yaml

from megatron_recipe.lab.asked import Asked
from megatron_recipe.lab.options import comparison_of
from megatron_recipe.lab.plan import Plan, make_plan
from megatron_recipe.lab.resolved import resolved


def plan_of(name: str | Path, out: Path = Path("out"), **options: object) -> Plan:
    return make_plan(resolved(comparison_of(Asked(name=str(name), **options))), out)  # type: ignore[arg-type]


def file_of(folder: Path, **values: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path
