"""incident.json: what an incident's runs showed, read anew from their folders whenever it is written."""

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from megatron_recipe.diagnose.criterion import Evidence
from megatron_recipe.files import json_if_whole, write_json
from megatron_recipe.lab.incident_changes import value_of
from megatron_recipe.lab.incident_measures import NUMBERS
from megatron_recipe.lab.incident_plan import ROLES, Act, Case
from megatron_recipe.lab.incident_verdict import RECOVERED, Judged, Look, judge_look, recovered
from megatron_recipe.lab.result import hardware_of, version_of
from megatron_recipe.lab.run_states import outcome_of

RESULT = "incident.json"
FORMAT = 1
Values = dict[str, Any]


def write_incident_result(case: Case, command: str, *, has_gpu: bool = False) -> Values:
    """Read the run folders, judge, and write incident.json; returns what it holds.

    Args:
        command: that made it.
        has_gpu: the machine has one that can be used.
    """
    path = case.folder / RESULT
    result = result_of(case, command, json_if_whole(path).get("started"))
    if result["verdict"] == "not run" and case.incident.needs == "gpu" and not has_gpu:
        result["verdict"] = "needs a gpu"
    write_json(path, result)
    return result


def result_of(case: Case, command: str, started: str | None = None) -> Values:
    """The values of incident.json, from the run folders as they stand."""
    incident, now = case.incident, time.strftime("%Y-%m-%dT%H:%M:%S%z")
    looks = {role: Look(act.folder) for role, act in case.acts.items() if (act.folder / "config.yaml").is_file()}
    control = looks.get("control")
    judgements = {role: judge_look(incident, look, control) for role, look in looks.items()} if control else {}
    runs: Values = {role: _run_entry(case, case.acts[role], looks.get(role), judgements.get(role)) for role in ROLES}
    ratio = recovered(looks["remedy"], looks["control"]) if {"remedy", "control"} <= set(looks) else None
    return {
        "format": FORMAT,
        "name": incident.name,
        "incident": incident.model_dump(mode="json"),
        "recipe": case.comparison.recipe,
        "command": command,
        "started": started or now,
        "updated": now,
        "hardware": hardware_of(case.plan),
        "version": version_of(case.plan),
        "seed": case.comparison.seeds[0],
        "tokens_per_run": case.comparison.tokens_per_run,
        "verdict": _verdict(runs, judgements.get("incident")),
        "remedy": {
            "recovers": incident.remedy.recovers,
            "loss_over_control": _plain(ratio),
            "limit": RECOVERED,
            "recovered": None if ratio is None else ratio <= RECOVERED,
        },
        "runs": runs,
    }


def _verdict(runs: Values, judgement: Judged | None) -> str:
    if any(runs[role]["state"] in ("not run", "stopped") for role in ("control", "incident")):
        return "not run"
    if runs["control"]["state"] == "failed" or judgement is None or judgement.seen is None:
        return "not measured"
    return "seen" if judgement.seen else "not seen"


def _run_entry(case: Case, act: Act, look: Look | None, judgement: Judged | None) -> Values:
    outcome = outcome_of(act.folder)
    healthy = case.acts["control"].config
    names = sorted({name for change in act.changes for name in change.settings(healthy)})
    return {
        "folder": _relative(act.folder, case.folder),
        "state": outcome.state,
        "reason": outcome.reason,
        "settings": {name: [value_of(healthy, name), value_of(act.config, name)] for name in names},
        "accidents": [change.model_dump(mode="json") for change in act.changes if change.kind != "settings"],
        "numbers": {name: _plain(look.measure(name)) if look else None for name in NUMBERS},
        "diagnosis": look.diagnosis if look else [],
        "seen": judgement.seen if judgement else None,
        "criterion": [
            {
                "holds": one.holds,
                "check": one.check,
                "evidence": [_evidence(seen) for seen in one.evidence],
            }
            for one in (judgement.conditions if judgement else ())
        ],
    }


def _evidence(seen: Evidence) -> Values:
    return {**asdict(seen), "value": _plain(seen.value)}


def _plain(value: float | str | None) -> float | str | None:
    """JSON has no infinity; it is text there."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _relative(folder: Path, base: Path) -> str:
    return Path(folder.absolute()).relative_to(base.absolute(), walk_up=True).as_posix()
