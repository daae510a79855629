"""Does the runs of incidents: controls first, then what is broken and what mends it, as many at a time as fit."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.errors import ConfigError
from megatron_recipe.lab.incident_plan import Act
from megatron_recipe.lab.incident_process import note_changes, noted_config, train_changed
from megatron_recipe.lab.incident_strikes import Struck
from megatron_recipe.lab.machine import Machine
from megatron_recipe.lab.on_gpus import on_gpus
from megatron_recipe.lab.plan import check_runs, require_same
from megatron_recipe.lab.run_config import naming
from megatron_recipe.lab.run_states import Outcome, outcome_of
from megatron_recipe.lab.runner import run_all
from megatron_recipe.lab.starters import Process, Starter, forking

PROCESS = ("megatron_recipe.lab.incident_process",)


def check_acts(acts: Sequence[Act], machine: Machine) -> list[DatasetFacts]:
    """Check all runs before one starts, and that no folder holds a run of other settings. Returns the datasets' facts.

    Raises:
        ConfigError, DataError: it names the run.
    """
    facts = check_runs([act.planned for act in acts], machine.hardware)
    for act in acts:
        there = noted_config(act.folder)
        with naming(act.label):
            if there is not None:
                require_same(act.folder, there, act.config)
            elif (act.folder / "config.yaml").is_file():
                raise ConfigError(f"{act.folder} holds a run of something else; name another --out, or delete it")
    return facts


def unfinished(acts: Sequence[Act]) -> list[Act]:
    """Those that are still to be done: neither finished nor ended by the accident that they are about."""
    return [act for act in acts if not is_done(act)]


def is_done(act: Act) -> bool:
    """Whether the run need not be done again: it finished, or trained and failed, as an incident's may."""
    state = outcome_of(act.folder).state
    return state == "finished" or (
        state == "failed" and act.role != "control" and (act.folder / "events.jsonl").is_file()
    )


def do_acts(
    acts: Sequence[Act],
    machine: Machine,
    ended: Callable[[Act, Outcome, float], None],
    look: Callable[[Sequence[Act]], None],
) -> signal.Signals | None:
    """Do what is not done. Controls come first: what others are held against, or begin from, is then there, and an
    incident whose control failed is not run.

    Args:
        ended: called after each run, with how it ended and its process's seconds.
        look: called now and then with what runs.

    Returns:
        The signal that stopped it; None where all were gone through.
    """
    todo = unfinished(acts)
    if not todo:
        return None
    start = starter(machine, todo)
    controls = [act for act in todo if act.role == "control"]
    if stopped := run_all(controls, start, machine.at_once, ended, look):
        return stopped
    others = [act for act in todo if act.role != "control" and outcome_of(act.control).state == "finished"]
    return run_all(others, start, machine.at_once, ended, look)


def starter(machine: Machine, acts: Sequence[Act]) -> Starter:
    """How the runs are started here: as those of a comparison, with what is done to each around it."""
    inner = on_gpus(machine, PROCESS) if machine.devices else forking(machine.threads, train_changed)
    by_folder = {act.folder: act for act in acts}

    def start(config: Config, folder: Path, slot: int) -> Process:
        act = by_folder[folder]
        note_changes(act)
        return Struck(lambda: inner(config, folder, slot), act.changes, config, folder)

    return start
