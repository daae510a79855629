"""Which run a folder holds, and which of the checkpoints that it saved it still stands on: by its own events."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe.errors import DataError

EVENTS = "events.jsonl"


@dataclass(frozen=True)
class Branches:
    """Steps of checkpoints that a run saved."""

    alive: frozenset[int]
    """On the way to where it stands."""
    given_up: frozenset[int]
    """Saved before it went back behind them: by a rollback, or since they were deleted or damaged."""


def branches_of(folder: Path) -> Branches:
    """Of the run in `folder`; none where it has no events. Damaged lines are passed over."""
    alive: list[int] = []
    known: set[int] = set()
    for event in _events(folder / EVENTS):
        kind, step = event.get("event"), event.get("step")
        if kind == "rollback":
            alive = [one for one in alive if one <= int(event.get("to_step", 0))]
        elif (
            kind in ("start", "resume", "checkpoint_saved") and isinstance(step, int) and event.get("kind") != "weights"
        ):
            alive = [one for one in alive if one < step]
            if kind != "start" and step:
                alive.append(step)
                known.add(step)
    return Branches(frozenset(alive), frozenset(known.difference(alive)))


def require_same_run(folder: Path, theirs: bytes | None, place: str) -> None:
    """Raise DataError where the folder and the records of the copy begin with other events: a run keeps its first one.

    theirs: the copy's events.jsonl; None where it has none.
    """
    events = folder / EVENTS
    own = events.read_bytes().partition(b"\n")[0] if events.is_file() else b""
    other = (theirs or b"").partition(b"\n")[0]
    if own and other and own != other:
        raise DataError(
            f"{place} has another run under the name {folder.name}: it began {_began(other)}, and {folder} "
            f"{_began(own)}; copy to another place, or give one of the two folders another name"
        )


def _began(line: bytes) -> str:
    try:
        return str(json.loads(line)["time"])
    except (ValueError, KeyError, TypeError):
        return "at a time that is not known"


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        try:
            event = json.loads(line) if line.strip() else None
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
