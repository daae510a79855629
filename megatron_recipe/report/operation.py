"""The operation section: accidents and what was done, restarts, checkpoints, cost."""

import math
import string
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from megatron_recipe.report.bill import bill_of
from megatron_recipe.report.curve import Curve
from megatron_recipe.report.figures import BROAD, NARROW, Drawing, Marks, draw
from megatron_recipe.report.formats import fact
from megatron_recipe.report.run_files import Record, Run
from megatron_recipe.report.series import Series, series
from megatron_recipe.report.strings import Strings
from megatron_recipe.report.training import is_number

ACCIDENTS = (
    "spike", "update_skipped", "rollback", "skip_samples", "diagnosis", "checkpoint_failed", "checkpoint_damaged",
    "out_of_memory", "straggler", "budget_warning", "logger_failed", "evaluation_failed",
)  # fmt: skip
MAX_ACCIDENTS, MAX_CHECKPOINTS = 80, 30
JOULES_PER_KWH, SECONDS_PER_HOUR = 3.6e6, 3600.0
# Units of the time axis: seconds of one, from so many of it on.
TIME_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
SMALLEST_SPAN = 3


@dataclass(frozen=True)
class CheckpointRow:
    """One line of the checkpoints' table; None for what was not recorded."""

    step: float
    kind: str
    time: str | None
    validation_loss: float | None
    seconds: float | None
    blocked_seconds: float | None
    bytes: int | None
    is_best: bool
    state: str
    """`checksums`, `no_checksums`, `damaged` or `deleted`."""


@dataclass(frozen=True)
class Cost:
    """What the run took; None for what is not known."""

    currency: str
    spent: float | None
    price_per_hour: float | None
    per_billion_tokens: float | None
    budget: float | None
    budget_unit: str
    budget_share: float | None
    kilowatt_hours: float | None
    joules_per_token: float | None


@dataclass(frozen=True)
class Operation:
    """What the section shows."""

    accidents: list[Record]
    older_accidents: int
    counts: Counter[str]
    samples_left_out: int
    timeline: Curve | None
    time_unit: str
    instances: int
    up_seconds: float | None
    wall_seconds: float | None
    checkpoints: list[CheckpointRow]
    older_checkpoints: int
    cost: Cost


def operation_section(run: Run) -> Operation:
    """Collect what the run's events, its checkpoint folder and its spending say."""
    accidents = told_once([event for event in run.events if event["event"] in ACCIDENTS])
    rows = checkpoint_rows(run)
    shown = [row for index, row in enumerate(rows) if row.state != "deleted" or index >= len(rows) - MAX_CHECKPOINTS]
    timeline, unit = _timeline(run.events)
    up, wall = lifetime(run.spending)
    return Operation(
        accidents=accidents[-MAX_ACCIDENTS:],
        older_accidents=max(len(accidents) - MAX_ACCIDENTS, 0),
        counts=Counter(event["event"] for event in run.events),
        samples_left_out=_samples_left_out(run.events),
        timeline=timeline,
        time_unit=unit,
        instances=len(run.spending),
        up_seconds=up,
        wall_seconds=wall,
        checkpoints=shown,
        older_checkpoints=len(rows) - len(shown),
        cost=cost_of(run),
    )


def told_once(events: list[Record]) -> list[Record]:
    """The events without updates that were left out because of a spike: the spike's own sentence says so."""
    spikes = {event.get("step") for event in events if event["event"] == "spike" and event.get("action") == "skip"}
    return [event for event in events if event["event"] != "update_skipped" or event.get("step") not in spikes]


def sentence(text: Strings, event: Record) -> Markup:
    """An accident in words; a fact that it lacks is a dash."""
    kind = "nan" if event["event"] == "spike" and event.get("quantity") == "nan" else event["event"]
    key = f"accident.{kind}"
    names = [name for _, name, _, _ in string.Formatter().parse(text.table[key]) if name is not None]
    facts: dict[str, object] = {}
    for name in names:
        value = event.get(name)
        word = {"quantity": f"quantity.{value}", "action": f"action.{value}"}.get(name, "")
        facts[name] = text(word) if text.has(word) else fact(value)
    return text(key, **facts)


def checkpoint_rows(run: Run) -> list[CheckpointRow]:
    """Every checkpoint that was saved, by step; one saved twice counts once."""
    saved = {_folder(event): event for event in run.events if event["event"] == "checkpoint_saved"}
    damaged = {_folder(event) for event in run.events if event["event"] == "checkpoint_damaged"}
    losses = {
        name: marker["validation_loss"]
        for name, marker in run.checkpoints.items()
        if is_number(marker.get("validation_loss"))
    }
    best = min(losses, key=lambda name: losses[name], default=None)
    rows = []
    for name in sorted({*saved, *run.checkpoints}):
        event, marker = saved.get(name, {}), run.checkpoints.get(name)
        step = event.get("step", (marker or {}).get("step"))
        if not is_number(step):
            continue
        kind = str(event.get("kind") or (marker or {}).get("kind") or "regular")
        state = "deleted" if marker is None else "checksums" if marker.get("integrity_sha256") else "no_checksums"
        rows.append(
            CheckpointRow(
                step=step,
                kind="was_best" if kind == "best" and name != best else kind,
                time=event.get("time") or (marker or {}).get("saved"),
                validation_loss=losses.get(name),
                seconds=event.get("seconds"),
                blocked_seconds=event.get("blocked_seconds"),
                bytes=event.get("bytes"),
                is_best=name == best,
                state="damaged" if name in damaged and marker is not None else state,
            )
        )
    return rows


def _folder(event: Record) -> str:
    """Name of the checkpoint folder that an event is about."""
    named = event.get("folder")
    return Path(str(named)).name if named else f"step_{event.get('step', 0):08d}"


def _samples_left_out(events: list[Record]) -> int:
    """Samples that rollbacks and the user's word left out of the data."""
    names = {"rollback": ("skipped_first", "skipped_stop"), "skip_samples": ("first", "stop")}
    left_out = 0
    for event in events:
        first, stop = (event.get(name) for name in names.get(event["event"], ("", "")))
        if is_number(first) and is_number(stop):
            left_out += int(stop - first)
    return left_out


def _timeline(events: list[Record]) -> tuple[Curve | None, str]:
    """Steps over the time of day; between the last sign of an instance and the next resume there is a gap."""
    points: list[tuple[float, float]] = []
    resumes: list[float] = []
    for event in events:
        moment, step = _unix_time(event.get("time")), event.get("step", event.get("to_step"))
        if moment is None or not is_number(step):
            continue
        if event["event"] == "resume":
            points.append((moment, math.nan))
            resumes.append(moment)
        if event["event"] == "rollback" and is_number(event.get("from_step")):
            points.append((moment, event["from_step"]))
        points.append((moment, step))
    if len(points) < SMALLEST_SPAN or points[-1][0] <= points[0][0]:
        return None, "seconds"
    began, span = points[0][0], points[-1][0] - points[0][0]
    unit, seconds = next((pair for pair in TIME_UNITS if span >= SMALLEST_SPAN * pair[1]), TIME_UNITS[-1])
    times = (np.array([moment for moment, _ in points]) - began) / seconds
    steps = np.array([step for _, step in points])
    high = float(np.nanmax(steps)) or 1.0
    drawing = Drawing("timeline", Series(times, steps), (0.0, 1.06 * high), smoothed=False)
    marks = Marks(resumes=[(moment - began) / seconds for moment in resumes])
    nothing = Series(np.array([]), np.array([]))
    return (
        Curve("timeline", draw(drawing, marks, BROAD), draw(drawing, marks, NARROW), 0, None, nothing, [], True),
        unit,
    )


def _unix_time(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def lifetime(spending: list[Record]) -> tuple[float | None, float | None]:
    """Seconds that instances of the run lived, and from the beginning of the first to the end of the last."""
    spans = [
        (began, one["seconds"])
        for one in spending
        if (began := _unix_time(one.get("began"))) is not None and is_number(one.get("seconds"))
    ]
    if not spans:
        return None, None
    return sum(seconds for _, seconds in spans), max(b + s for b, s in spans) - min(b for b, _ in spans)


def cost_of(run: Run) -> Cost:
    """What the run took, as far as its records say."""
    budget = run.config.get("budget") or {}
    last = run.train[-1] if run.train else {}
    bill = bill_of(run, None)
    tokens, used = last.get("tokens"), bill.seconds or 0.0
    currency = bill.currency or str(budget.get("currency") or "cny")
    spent = bill.amount if run.spending else last.get("cost_so_far")
    amount, unit = budget.get("amount") or None, str(budget.get("unit") or currency)
    share = None
    if amount:
        in_unit = {"hours": used / SECONDS_PER_HOUR, "seconds": used, "tokens": tokens}.get(unit, spent)
        share = in_unit / amount if in_unit else None
    joules = series(run.train, "joules_per_token").finite
    per_token = float(np.median(joules)) if len(joules) else None
    return Cost(
        currency=currency,
        spent=spent,
        price_per_hour=budget.get("price_per_hour") or None,
        per_billion_tokens=spent / tokens * 1e9 if spent and tokens else None,
        budget=amount,
        budget_unit=unit,
        budget_share=share,
        kilowatt_hours=per_token * tokens / JOULES_PER_KWH if per_token and tokens else None,
        joules_per_token=per_token,
    )
