"""Bring a run, or any folder, back from a store; a checkpoint takes its place when its own checksums hold.

What arrives lies in FOLDER/.sync until then, so that a kill leaves nothing that looks like a checkpoint, and the next
attempt goes on with what has arrived.
"""

import shutil
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.checkpoint_integrity import MARKER, damage
from megatron_recipe.errors import CheckpointError, DataError, MachineError
from megatron_recipe.files import held_alone
from megatron_recipe.sync_branches import EVENTS, branches_of, require_same_run
from megatron_recipe.sync_stage import CHECKPOINTS, STAGE, newest_whole, step_in, sync_lock
from megatron_recipe.sync_store import Store

RUN_LOCK = ".lock"


def pull(folder: Path, store: Store) -> str | None:
    """Bring `folder.name` of the store to `folder`; returns the checkpoint that came with it, if one did.

    A run that is at the store's step, or past it, stays as it is.

    Raises:
        DataError: the store has no such folder, or another run of its name, or the folder is in use.
        CheckpointError: the store has checkpoints, and none of them is whole.
        MachineError: the copy failed.
    """
    name = folder.name
    listed = store.files(name)
    if not listed:
        raise DataError(f"{store.name} has nothing under {name}; look there, or name the folder as it is called there")
    require_same_run(folder, store.read(f"{name}/{EVENTS}"), store.name)
    here, problems = newest_whole(folder)
    given_up = branches_of(folder).given_up  # by a rollback, say, of which the copy does not know yet
    complete = _complete_steps(listed)
    steps = [one for one in complete if step_in(one) not in given_up]
    for problem in problems:
        console.warn(f"{folder}: {problem}")
    if here and (step_in(here.name) or 0) >= max((step_in(one) or 0 for one in steps), default=0):
        there = steps[-1] if steps else "no step that the run stands on"
        console.say(f"sync: {folder} is at {here.name}, and {store.name} at {there}: nothing to bring")
        return None
    if complete and not steps:  # its records are older than those here, too
        console.say(f"sync: {folder} has given up what {store.name} has ({', '.join(complete)}): nothing to bring")
        return None
    busy = f"{folder}: process {{holder}} is training in this folder; stop it first"
    with sync_lock(folder), held_alone(folder / RUN_LOCK, busy):
        arrived = folder / STAGE / "from"
        checkpoint = _first_whole(store, name, steps, arrived)
        if checkpoint:
            target = folder / CHECKPOINTS / checkpoint
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            (arrived / name / CHECKPOINTS / checkpoint).rename(target)
        _bring_files(store, name, arrived)
        _move_files(arrived / name, folder)
        shutil.rmtree(arrived, ignore_errors=True)
    console.say(f"sync: {folder} is here{f', with {checkpoint}' if checkpoint else ''}; verified")
    return checkpoint


def _complete_steps(listed: list[str]) -> list[str]:
    """Names of checkpoints that have a marker in the store, oldest first."""
    parts = [name.split("/") for name in listed]
    found = [part[1] for part in parts if len(part) == 3 and part[0] == CHECKPOINTS and part[2] == MARKER]
    return sorted((name for name in found if step_in(name) is not None), key=lambda name: step_in(name) or 0)


def _first_whole(store: Store, name: str, steps: list[str], arrived: Path) -> str | None:
    problems = []
    for step in reversed(steps):
        sub = f"{name}/{CHECKPOINTS}/{step}"
        problem: str | None = None
        for distrust in (False, True):  # a file that arrived damaged has size and time of the whole one
            store.get(sub, arrived, distrust=distrust)
            problem = damage(arrived / sub)
            if problem is None:
                return step
        problems.append(f"{step}: {problem}")
        console.warn(f"{store.name}: {step} is not whole ({problem}); trying the one before it")
        shutil.rmtree(arrived / sub)
    if problems:
        raise CheckpointError(
            f"{store.name}: no checkpoint of {name} is whole: {'; '.join(problems[:3])}; copy it there again from "
            "where it was trained, with sync --to"
        )
    return None


def _bring_files(store: Store, name: str, arrived: Path) -> None:
    """All but checkpoints, of which one has come already; compared with the store by checksums."""
    for distrust in (False, True):
        store.get(name, arrived, (f"/{CHECKPOINTS}/**",), distrust=distrust)
        different = store.differences(arrived, name, (MARKER,))
        if not different:
            return
    raise MachineError(f"{store.name}: {', '.join(different[:3])} did not arrive as there; run the same command again")


def _move_files(source: Path, folder: Path) -> None:
    """Put each file in its place, those that complete a dataset last."""
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == "manifest.json"):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
