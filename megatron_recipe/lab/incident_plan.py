"""The three runs of an incident: control, incident and remedy, with equal seeds, tokens and text."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from megatron_recipe.config import Config
from megatron_recipe.lab.comparison import Comparison, Setting
from megatron_recipe.lab.incident import AnyChange, Incident
from megatron_recipe.lab.plan import Plan, PlannedRun
from megatron_recipe.lab.run_config import load_setting, run_config, step_tokens
from megatron_recipe.recipes import load_config, parse_config
from megatron_recipe.settings import put

Role = Literal["control", "incident", "remedy"]
ROLES: tuple[Role, ...] = ("control", "incident", "remedy")
STEPS = {"cpu": 200, "gpu": 400}
"""Of a control, unless --tokens says something else: a minute of the tiny recipe, minutes of gpt_100m."""
RECORDS, LEAST_INTERVAL = 50, 2
"""Records of a run, and steps between two at least: a jitter is measured within an interval."""
VALIDATIONS = 2
HELD_OUT_SAMPLES, WARM_UP = 128, 0.1
GUARD_OFF: dict[str, Any] = {
    "stability.on_nan": "log",
    "stability.on_loss_spike": "log",
    "stability.on_grad_spike": "log",
}
"""The guard that rolls back is off, so that an accident is seen; an incident's file may switch it on."""


@dataclass(frozen=True)
class Asked:
    """What `lab incident` and `lab all` were asked for, besides the names."""

    recipe: str = "gpt_tiny_cpu"
    overrides: tuple[tuple[str, Any], ...] = ()
    """Values by `section.field`, for all runs."""
    seed: int = 1
    tokens: int | None = None
    """Of every run; None takes `STEPS`."""


@dataclass(frozen=True)
class Act:
    """One of the runs: what is trained, where, and what is done to it."""

    role: Role
    planned: PlannedRun
    changes: tuple[AnyChange, ...] = ()
    files: Path = Path()
    """Folder for what the changes make; not the run's."""
    control: Path = Path()
    """Run folder of the control."""

    @property
    def config(self) -> Config:
        """What the trainer gets, before the changes have made their files."""
        return self.planned.config

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.planned.folder

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.planned.label


@dataclass(frozen=True)
class Case:
    """An incident with its runs."""

    incident: Incident
    folder: Path
    acts: dict[Role, Act]
    comparison: Comparison

    @property
    def plan(self) -> Plan:
        """The runs as those of a comparison, which checks them."""
        return Plan(self.comparison, self.folder, [act.planned for act in self.acts.values()], ["validation"])


def make_case(incident: Incident, asked: Asked, folder: Path, controls: Path | None, place: str) -> Case:
    """The runs of an incident.

    Args:
        folder: of the incident.
        controls: folder of controls that several incidents share; None puts the control into `folder`.
        place: `cpu` or `gpu`, which sets the length where none is asked for.

    Raises:
        ConfigError: a value that cannot be; it names the run.
    """
    fixed = smaller(asked.recipe) if place == "cpu" else {}
    comparison = Comparison(
        name=incident.name,
        recipe=asked.recipe,
        overrides={**GUARD_OFF, **fixed, **incident.every_run, **dict(asked.overrides)},
        seeds=[asked.seed],
    )
    healthy = load_setting(comparison, Setting(label="control"))
    size = step_tokens(healthy)
    tokens = max(1, (asked.tokens or STEPS[place] * size) // size) * size
    comparison = comparison.model_copy(update={"tokens_per_run": tokens})
    control = folder / "control" if controls is None else controls / control_name(incident)
    changes: dict[Role, Sequence[AnyChange]] = {
        "control": (),
        "incident": incident.change,
        "remedy": incident.remedy.change,
    }
    acts: dict[Role, Act] = {}
    for role in ROLES:
        place_of_run = control if role == "control" else folder / role
        planned = _planned(comparison, role, changes[role], healthy, place_of_run)
        acts[role] = Act(role, planned, tuple(changes[role]), folder / "files" / role, control)
    if is_control(acts["remedy"], acts["control"]):
        acts["remedy"] = replace(acts["control"], changes=acts["remedy"].changes)
    return Case(incident, folder, acts, comparison)


def is_control(remedy: Act, control: Act) -> bool:
    """Whether a remedy only takes the mistake back, so that its run would be the control's."""
    return remedy.config == control.config and all(change.kind == "settings" for change in remedy.changes)


def smaller(recipe: str) -> dict[str, Any]:
    """Values that make a run short on a CPU: half the batch and sequence, with a warm-up of some steps."""
    config = load_config(recipe)
    batch = max(1, config.batch.global_batch_size_samples // 2)
    micro = config.batch.micro_batch_size_samples
    return {
        "model.sequence_length_tokens": config.model.sequence_length_tokens // 2,
        "batch.global_batch_size_samples": batch,
        "batch.micro_batch_size_samples": micro if micro == "auto" else math.gcd(micro, batch),
        "schedule.warmup_fraction": max(WARM_UP, config.schedule.warmup_fraction),
        "train.validation_samples": min(HELD_OUT_SAMPLES, config.train.validation_samples),
    }


def control_name(incident: Incident) -> str:
    """Folder name of a shared control: one for all incidents with equal `every_run`."""
    if not incident.every_run:
        return "control"
    text = json.dumps(incident.every_run, sort_keys=True)
    return f"control-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _planned(
    comparison: Comparison, role: Role, changes: Sequence[AnyChange], healthy: Config, folder: Path
) -> PlannedRun:
    label = comparison.name if role == "incident" else f"{comparison.name} {role}"
    overrides = {name: value for change in changes for name, value in change.settings(healthy).items()}
    setting = Setting(label=label, overrides=overrides)
    steps = (comparison.tokens_per_run or 0) // step_tokens(load_setting(comparison, setting))
    lengths = {
        "train.log_every_steps": max(LEAST_INTERVAL, steps // RECORDS),
        "train.validate_every_steps": max(1, steps // VALIDATIONS),
    }
    given = {**comparison.overrides, **overrides}
    free = {name: value for name, value in lengths.items() if name not in given}
    setting = setting.model_copy(update={"overrides": {**overrides, **free}})
    seed = comparison.seeds[0]
    return PlannedRun(ROLES.index(role), label, seed, run_config(comparison, setting, seed), folder)


def unique(cases: Sequence[Case]) -> list[Act]:
    """All runs of the cases, each folder once: controls first, then each incident with its remedy."""
    acts = [case.acts["control"] for case in cases]
    acts += [case.acts[role] for case in cases for role in ROLES if role != "control"]
    first: dict[Path, Act] = {}
    for act in acts:
        first.setdefault(act.folder, act)
    return list(first.values())


def with_values(config: Config, values: dict[str, Any]) -> Config:
    """The configuration with some values by `section.field`."""
    plain = config.model_dump(mode="json")
    for name, value in values.items():
        put(plain, name.split("."), value)
    return parse_config(plain, "the changes of an incident")
