"""What a run folder says, read in a moment however long the run is, on a machine without torch."""

import fcntl
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from megatron_recipe.errors import DataError, no_run
from megatron_recipe.files import json_if_whole

Record = dict[str, Any]

WHOLE, ENDS = 4_000, 1_000
"""Lines of metrics.jsonl that are all read; of a longer file, the first and the last that are, and as many as make up
`WHOLE` spread between them. Accidents in the steps between stand in events.jsonl."""
LOCK = ".lock"
"""Held by the process that trains in the folder."""
LIFE = ("start", "resume", "stopped", "end", "failed")


@dataclass(frozen=True)
class RunFacts:
    """The parts of a run folder that checks look at; a part that is not there is empty."""

    folder: Path
    config: Record
    environment: Record
    train: list[Record]
    validation: list[Record]
    events: list[Record]
    checkpoints: dict[int, Record]
    """Markers of the checkpoints that are there, by step."""
    manifests: list[Record]
    """Of the datasets that are still there."""
    lines: int
    """Lines of metrics.jsonl."""
    read: int
    """Lines of it that were read; less than `lines` where it is long."""
    heard: float
    """Unix time at which the run wrote something last."""
    now: float
    is_held: bool | None
    """Whether a process trains in the folder; None where that cannot be known here, as on another machine."""
    paid_seconds: float | None
    """What all lives of the run together took; None where that was not written down."""


def read_facts(folder: Path, now: float | None = None) -> RunFacts:
    """Read a run folder; DataError where it is none. Damaged lines are passed over: the rest is worth judging.

    now: Unix time; by default the present.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such run folder; `megatron-recipe train` makes runs/<name>")
    config = _yaml(folder / "config.yaml")
    if not config and (folder / "config.yaml").is_file():
        raise DataError(f"{folder / 'config.yaml'} is damaged; restore it from a copy of the run")
    if not config:
        raise no_run(folder)
    lines = _lines(folder / "metrics.jsonl")
    chosen = _thinned(lines)
    records = latest(_records(chosen))
    environment = json_if_whole(folder / "environment.json")
    return RunFacts(
        folder=folder,
        config=config,
        environment=environment,
        train=[record for record in records if record["kind"] == "train"],
        validation=[record for record in records if record["kind"] == "validation"],
        events=[event for event in _parsed(_lines(folder / "events.jsonl")) if "event" in event],
        checkpoints=_markers(folder / "checkpoints"),
        manifests=_manifests(config, folder),
        lines=len(lines),
        read=len(chosen),
        heard=max(_written(folder / name) for name in ("metrics.jsonl", "events.jsonl", "config.yaml")),
        now=time.time() if now is None else now,
        is_held=_held(folder / LOCK, environment),
        paid_seconds=_paid(json_if_whole(folder / "spending.json")),
    )


def latest(records: list[Record]) -> list[Record]:
    """The records that still count: one at step s makes earlier ones of later steps void, and of its kind at s."""
    kept: list[Record] = []
    for record in records:
        while kept and (
            kept[-1]["step"] > record["step"]
            or (kept[-1]["step"] == record["step"] and kept[-1]["kind"] == record["kind"])
        ):
            kept.pop()
        kept.append(record)
    return kept


def _paid(spending: Record) -> float | None:
    seconds = [life.get("seconds") for life in spending.get("instances") or [] if isinstance(life, dict)]
    known = [float(one) for one in seconds if isinstance(one, int | float)]
    return sum(known) if known else None


def _held(lock: Path, environment: Record) -> bool | None:
    if environment.get("host") != platform.node():
        return None
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _thinned(lines: list[bytes]) -> list[bytes]:
    if len(lines) <= WHOLE:
        return lines
    between = lines[ENDS:-ENDS]
    stride = -(-len(between) // (WHOLE - 2 * ENDS))
    chosen = (
        line for place, line in enumerate(between) if place % stride == 0 or line.startswith(b'{"kind": "validation"')
    )
    return [*lines[:ENDS], *chosen, *lines[-ENDS:]]


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return []


def _parsed(lines: list[bytes]) -> list[Record]:
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _records(lines: list[bytes]) -> list[Record]:
    return [record for record in _parsed(lines) if isinstance(record.get("step"), int) and "kind" in record]


def _yaml(path: Path) -> Record:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}


def _markers(folder: Path) -> dict[int, Record]:
    steps = {path.parent.name.removeprefix("step_"): path for path in sorted(folder.glob("step_*/checkpoint.json"))}
    return {int(step): json_if_whole(path) for step, path in steps.items() if step.isdigit()}


def _manifests(config: Record, folder: Path) -> list[Record]:
    """A relative path is meant from where the run was started, above it; the command may be given elsewhere."""
    entries = (config.get("data") or {}).get("datasets") or []
    paths = [str(entry["path"]) for entry in entries if isinstance(entry, dict) and "path" in entry]
    bases = (Path(), *folder.absolute().parents)
    found = [next(filter(None, (json_if_whole(base / path / "manifest.json") for base in bases)), {}) for path in paths]
    return [manifest for manifest in found if manifest]


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
