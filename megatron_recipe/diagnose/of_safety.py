"""Checks of what a run can lose: its process, its checkpoints, its disk, its copies."""

from itertools import pairwise

from megatron_recipe.diagnose.criterion import NOT_MEASURED, Criterion, Evidence, Finding, state_of
from megatron_recipe.diagnose.signals import Signals
from megatron_recipe.watch.run_view import SILENT_AFTER_RECORDS, SILENT_AFTER_SECONDS

OVERDUE = 2.0
"""Intervals without a checkpoint."""
AT_RISK_SECONDS = 4 * 3600.0
"""Work that a crash would cost."""
ROOM_WATCHED, ROOM_LIMIT = 4.0, 2.0
"""Free space in sizes of a checkpoint."""
FREE_GB = 2.0
LONGEST_PAUSES = 2.0
"""Of those between two records so far."""


def run_failed(signals: Signals) -> Finding:
    """The run ended with an error."""
    failures = signals.events("failed", "diagnosis")
    if signals.last_life != "failed":
        return Finding("ok")
    last = failures[-1]
    text = str(last.get("message") or last.get("error") or "")
    return Finding("wrong", (Evidence(last["event"], text[:300], "", last.get("step"), last.get("step")),))


def run_silent(signals: Signals) -> Finding:
    """A run that has not ended has no process, or writes nothing any more: killed, hung, or its machine is gone."""
    quiet = max(0.0, signals.facts.now - signals.facts.heard)
    records = (signals.step_seconds or 0.0) * signals.setting("train", "log_every_steps", 10)
    times = signals.points("seconds").values
    pause = max((later - earlier for earlier, later in pairwise(times)), default=0.0)  # a validation is no silence
    limit = max(SILENT_AFTER_SECONDS, SILENT_AFTER_RECORDS * records, LONGEST_PAUSES * pause)
    if signals.is_over:
        return Finding("ok", (Evidence("last event", signals.last_life),))
    seen = Evidence("seconds since the last sign of life", quiet, f"≤ {limit:.0f}", signals.step, signals.step)
    is_gone = signals.facts.is_held is False and bool(signals.last_life)
    gone = (Evidence("process that holds .lock", "none"),) if is_gone else ()
    return Finding(state_of(quiet > limit or is_gone), (*gone, seen))


def checkpoint_overdue(signals: Signals) -> Finding:
    """The newest checkpoint is older than the settings promise, or a crash would cost hours."""
    if not signals.facts.train:
        return NOT_MEASURED
    saved = [event.get("step", 0) for event in signals.events("checkpoint_saved") if event.get("kind") != "weights"]
    kept = [step for step, marker in signals.facts.checkpoints.items() if marker.get("kind") != "weights"]
    newest = max([step for step in (*saved, *kept) if step <= signals.step], default=0)
    since, each = signals.step - newest, signals.step_seconds or 0.0
    every = signals.setting("checkpoint", "save_every_steps", 500)
    minutes = signals.setting("checkpoint", "save_every_minutes", 0.0)
    seen = [Evidence("steps since the last checkpoint", since, f"≤ {OVERDUE * every:g}" if every else "", newest)]
    late = bool(every) and since > OVERDUE * every
    if minutes:
        seen.append(Evidence("minutes since the last checkpoint", since * each / 60, f"≤ {OVERDUE * minutes:g}"))
        late = late or since * each / 60 > OVERDUE * minutes
    gaps = [stop - first for first, stop in pairwise([0, *sorted(saved)])] if signals.events("start") else []
    longest = max(gaps, default=0)
    was_late = bool(every) and longest > OVERDUE * every
    if was_late:
        seen.append(Evidence("longest stretch without a checkpoint, steps", longest, f"≤ {OVERDUE * every:g}"))
    return Finding(state_of(late, was_late or since * each > AT_RISK_SECONDS), tuple(seen))


def checkpoint_failed(signals: Signals) -> Finding:
    """A checkpoint could not be written."""
    events = signals.events("checkpoint_saved", "checkpoint_failed")
    if not events:
        return NOT_MEASURED
    bad = [event for event in events if event["event"] != "checkpoint_saved"]
    seen = tuple(
        Evidence(event["event"], str(event.get("reason", ""))[:200], "", event.get("step"), event.get("step"))
        for event in bad[-2:]
    )
    return Finding(state_of(events[-1]["event"] == "checkpoint_failed", bool(bad)), seen)


def disk_short(signals: Signals) -> Finding:
    """The disk has little room for the next checkpoints."""
    free = signals.points("disk_free_gb")
    if not len(free):
        return NOT_MEASURED
    last, step = free.values[-1], free.steps[-1]
    sizes = [event.get("bytes", 0) / 1e9 for event in signals.events("checkpoint_saved")]
    size = max(sizes, default=0.0)
    watched, limit = max(ROOM_WATCHED * size, FREE_GB), max(ROOM_LIMIT * size, FREE_GB / 4)
    seen = (Evidence("disk_free_gb", last, f"≥ {watched:.3g}", step, step), Evidence("checkpoint, GB", size))
    return Finding(state_of(last < limit, last < watched), seen)


def copy_failed(signals: Signals) -> Finding:
    """The copy of the run elsewhere is behind."""
    events = signals.events("run_copied", "copy_failed")
    if not events:
        return NOT_MEASURED
    last = events[-1]
    seen = (Evidence(last["event"], str(last.get("reason", ""))[:200], "", last.get("step"), last.get("step")),)
    return Finding(state_of(False, last["event"] == "copy_failed"), seen)


SAFETY = (
    Criterion("run_failed", "safety", 51, run_failed),
    Criterion("run_silent", "safety", 92, run_silent),
    Criterion("checkpoint_failed", "safety", 56, checkpoint_failed),
    Criterion("disk_short", "safety", 55, disk_short),
    Criterion("checkpoint_overdue", "safety", 53, checkpoint_overdue),
    Criterion("copy_failed", "safety", 25, copy_failed),
)
