"""comparison.json: all that a comparison measured, written anew after each run that ended."""

import fcntl
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from megatron_recipe import __version__
from megatron_recipe.files import json_if_whole, write_json
from megatron_recipe.lab.conclusions import conclude
from megatron_recipe.lab.intervals import Difference, difference, mean_of
from megatron_recipe.lab.measures import HELD_OUT, Values, measure, units
from megatron_recipe.lab.plan import Plan, PlannedRun
from megatron_recipe.lab.run_states import Outcome, outcome_of

RESULT = "comparison.json"
PLAN = "plan.yaml"
FORMAT = 1


def write_result(plan: Plan, command: str) -> dict[str, Any]:
    """Read all run folders, judge, and write comparison.json; returns what it holds.

    Args:
        command: that made it, for whoever reads it later.
    """
    with _one_writer(plan.folder):
        path = plan.folder / RESULT
        result = result_of(plan, command, json_if_whole(path).get("started"))
        write_json(path, result)
    return result


def result_of(plan: Plan, command: str, started: str | None = None) -> dict[str, Any]:
    """The values of comparison.json, from the run folders as they stand."""
    comparison, now = plan.comparison, time.strftime("%Y-%m-%dT%H:%M:%S%z")
    measured = {run.number: _look(plan, run) for run in plan.runs}
    budget = plan.runs[0].config.budget
    currency = budget.currency.upper() if budget.price_per_hour else None
    measures = units(plan.held_out, currency)
    labels = [setting.label for setting in comparison.settings]
    by_seed = {
        (label, name): {
            run.seed: value for run in plan.of(label) if (value := measured[run.number][1].get(name)) is not None
        }
        for label in labels
        for name in measures
    }
    pairs = {name: list(_pairs(labels, name, by_seed, comparison.confidence)) for name in measures}
    means = {label: found.mean for label in labels if (found := mean_of(list(by_seed[label, HELD_OUT].values()), 0.9))}
    return {
        "format": FORMAT,
        "name": comparison.name,
        "title": comparison.title.model_dump(),
        "why": comparison.why.model_dump(),
        "hypothesis": comparison.hypothesis.model_dump(),
        "recipe": comparison.recipe,
        "command": command,
        "started": started or now,
        "updated": now,
        "hardware": hardware_of(plan),
        "version": version_of(plan),
        "changed": plan.changed,
        "seeds": comparison.seeds,
        "tokens_per_run": comparison.tokens_per_run,
        "confidence": comparison.confidence,
        "target_loss": comparison.target_loss,
        "currency": currency,
        "settings": [
            {
                "label": setting.label,
                "overrides": setting.overrides,
                "runs": [_run_entry(plan, run, *measured[run.number]) for run in plan.of(setting.label)],
                "summary": {
                    name: asdict(found)
                    for name in measures
                    if (found := mean_of(list(by_seed[setting.label, name].values()), comparison.confidence))
                },
            }
            for setting in comparison.settings
        ],
        "measures": {name: {"unit": unit, "better": better} for name, (unit, better) in measures.items()},
        "pairs": [_pair_entry(a, b, name, found) for name in measures for a, b, found in pairs[name] if found],
        "conclusions": conclude(pairs[HELD_OUT], means, max(len(plan.of(label)) for label in labels)),
    }


def hardware_of(plan: Plan) -> str | None:
    """The devices that the runs were on, as they noted them; None where none has begun."""
    return ", ".join(cpu_name() if device == "cpu" else device for device in noted(plan, "device")) or None


def version_of(plan: Plan) -> str:
    """The commits that the runs ran from, as they noted them, or the package's version."""
    return ", ".join(noted(plan, "git")) or __version__


def noted(plan: Plan, field: str) -> list[str]:
    """What the runs' environment.json says, each value once."""
    values = [json_if_whole(run.folder / "environment.json").get(field) for run in plan.runs]
    return list(dict.fromkeys(value for value in values if value))


def cpu_name() -> str:
    """Cores that this process may use, and their name."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} x {names[0] if names else 'CPU'}"


def _look(plan: Plan, run: PlannedRun) -> tuple[Outcome, Values]:
    outcome = outcome_of(run.folder)
    if outcome.state != "finished":
        return outcome, {}
    return outcome, measure(run.folder, run.config, plan.held_out, plan.comparison.target_loss)


def _pairs(
    labels: list[str], name: str, by_seed: dict[tuple[str, str], dict[int, float]], confidence: float
) -> Iterator[tuple[str, str, Difference | None]]:
    pairs = list(itertools.combinations(labels, 2))
    for a, b in pairs:
        yield a, b, difference(by_seed[a, name], by_seed[b, name], confidence, len(pairs))


def _run_entry(plan: Plan, run: PlannedRun, outcome: Outcome, values: Values) -> dict[str, Any]:
    folder = run.folder.relative_to(plan.folder).as_posix()
    return {
        "seed": run.seed,
        "folder": folder,
        "state": outcome.state,
        "reason": outcome.reason,
        "values": values or dict.fromkeys(units(plan.held_out, None)),
    }


def _pair_entry(a: str, b: str, name: str, found: Difference) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "measure": name,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "seeds": found.seeds,
        "paired": found.paired,
        "shown": found.shown,
    }


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Tasks of a cluster end at the same moment: one after the other looks and writes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".result.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
