"""Stages that are done or not done: a folder with its marker, the fingerprint of its settings, and resumption.

A stage works in ``.NAME.partial`` and is renamed to ``NAME`` when it is whole, with ``stage.json`` inside. A killed run
leaves only the partial folder; the next run with the same settings goes on in it (datatrove skips the tasks that it
marked as complete and overwrites the others), and a run with other settings starts it afresh.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.recipe import StageResult
from megatron_recipe.errors import DataError
from megatron_recipe.files import full_disk_is_an_error, held_alone, partial_path, write_json

MARKER = "stage.json"
TEXT_STAGES = ("collect", "clean", "deduplicate", "decontaminate")
"""Those that a document goes through, in their order."""
SCRATCH = "scratch"
"""Folder in a stage's folder for what only the stage itself needs; removed when the stage is whole, and not before."""
FORMAT_VERSION = 1
"""Part of every fingerprint: raise it when a change in the code changes what a stage writes."""


@dataclass(frozen=True)
class Stage:
    """One stage: its folder and all that decides its result."""

    name: str
    folder: Path
    settings: dict[str, Any]
    previous: "Stage | None" = None

    @property
    def fingerprint(self) -> str:
        """Hash of the settings of this stage and of all before it."""
        previous = self.previous.fingerprint if self.previous else ""
        text = json.dumps([FORMAT_VERSION, self.name, self.settings, previous], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def completed(stage: Stage) -> StageResult | None:
    """The result of an earlier run of just this stage, or None."""
    try:
        marker = json.loads((stage.folder / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    if marker.get("fingerprint") != stage.fingerprint:
        return None
    return StageResult(**marker["result"])


def require(stage: Stage) -> StageResult:
    """The result of `stage`, which a later stage reads.

    Raises:
        DataError: it has not run with these settings.
    """
    result = completed(stage)
    if result is None:
        raise DataError(f"{stage.folder}: the stage {stage.name!r} has not run with these settings; run it first")
    return result


def run_stage(stage: Stage, build: Callable[[Path], StageResult]) -> StageResult:
    """Return the stage's earlier result, or let `build(partial folder)` make it and keep it.

    Raises:
        MachineError: the disk is full. What is finished stays and the next run continues.
        RuntimeError: documents were lost: read != kept + dropped. A bug, so no RecipeError.
    """
    done = completed(stage)
    if done is not None:
        return replace(done, cached=True)
    if stage.previous is not None:
        require(stage.previous)
    partial = partial_path(stage.folder)
    started = time.monotonic()
    with full_disk_is_an_error(stage.folder):
        _open_partial(stage, partial)
        result = replace(build(partial), seconds=time.monotonic() - started)
        check_sum(result)
        marker = {"fingerprint": stage.fingerprint, "settings": stage.settings, "result": asdict(result)}
        write_json(partial / MARKER, marker)
        shutil.rmtree(stage.folder, ignore_errors=True)
        partial.rename(stage.folder)
        shutil.rmtree(stage.folder / SCRATCH, ignore_errors=True)
    return result


def check_sum(result: StageResult) -> None:
    """Raise RuntimeError unless every document read was kept or dropped for a reason."""
    dropped = sum(result.dropped.values())
    if result.documents_in != result.documents_out + dropped:
        raise RuntimeError(
            f"stage {result.name!r} read {result.documents_in} documents, kept {result.documents_out} "
            f"and dropped {dropped}: they do not add up"
        )


def _open_partial(stage: Stage, partial: Path) -> None:
    """Keep a partial folder that was begun with the same settings; replace any other."""
    begun = partial / "begun.json"
    try:
        same = json.loads(begun.read_text(encoding="utf-8")) == stage.fingerprint
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        same = False
    if not same:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_json(begun, stage.fingerprint)


@contextmanager
def sole_user(work: Path) -> Iterator[None]:
    """Hold the work folder for this process.

    Raises:
        DataError: another run holds it.
    """
    busy = f"{work}: another run (process {{holder}}) is using this work folder; wait for it or give --work"
    with held_alone(work / ".lock", busy):
        yield
