"""Checks of what struck a run: killed without a word, its checkpoint gone, memory that did not hold it."""

import re
from itertools import pairwise

from megatron_recipe.diagnose.criterion import NOT_MEASURED, Criterion, Evidence, Finding, state_of
from megatron_recipe.diagnose.reading import LIFE, Record
from megatron_recipe.diagnose.signals import Signals

BEGINNINGS = ("start", "resume")
NO_MEMORY = re.compile(
    r"out of (GPU )?memory|OutOfMemory|can(?:'t|not) allocate memory|bad_alloc|\bMemoryError\b", re.I
)
"""What CUDA, torch's CPU allocator, C++ and Python say when there is none left."""


def out_of_memory(signals: Signals) -> Finding:
    """The run ended for want of memory; attention where it was begun again since."""
    ends = [event for event in signals.events("failed") if NO_MEMORY.search(str(event.get("error")))]
    if not signals.events(*LIFE):
        return NOT_MEASURED
    if not ends:
        return Finding("ok")
    is_last = signals.last_life == "failed" and signals.events("failed")[-1] is ends[-1]
    begun = [event for event in signals.events(*BEGINNINGS) if isinstance(event.get("micro_batch"), int)]
    micro_batch = begun[-1]["micro_batch"] if begun else signals.setting("batch", "micro_batch_size_samples", "auto")
    step = ends[-1].get("step")
    seen = (
        Evidence("failed", str(ends[-1].get("error"))[:200], "", step, step),
        Evidence("batch.micro_batch_size_samples", micro_batch),
    )
    return Finding(state_of(is_last, True), seen)


def run_killed(signals: Signals) -> Finding:
    """The run was begun again after a life that ended without a word."""
    lives = signals.events(*LIFE)
    if not lives:
        return NOT_MEASURED
    silent = [after for before, after in pairwise(lives) if {before["event"], after["event"]} <= set(BEGINNINGS)]
    if not silent:
        return Finding("ok")
    steps = [int(event.get("step", 0)) for event in silent]
    seen = [Evidence("ends without a word", len(silent), "0", min(steps), max(steps))]
    if (lost := signals.lost_share) is not None:
        seen.append(Evidence("share of the time lost", lost))
    return Finding("attention", tuple(seen))


def checkpoint_lost(signals: Signals) -> Finding:
    """A checkpoint that was saved is damaged or gone; wrong where the run would not have it, or began at step 0."""
    saved: list[int] = []
    lost: list[tuple[int, int]] = []
    damaged: list[Record] = []
    for event in signals.facts.events:
        kind, step = event["event"], int(event.get("step", 0))
        if kind == "checkpoint_saved" and event.get("kind") != "weights":
            saved.append(step)
        elif kind == "rollback":
            saved = [one for one in saved if one <= int(event.get("to_step", 0))]
        elif kind == "checkpoint_damaged":
            damaged.append(event)
        elif kind in BEGINNINGS:
            if saved and max(saved) > step:
                lost.append((max(saved), step))
            saved = [one for one in saved if one <= step]
    if not (signals.events("checkpoint_saved") or lost or damaged):
        return NOT_MEASURED
    kept = [step for step, marker in signals.facts.checkpoints.items() if marker.get("kind") != "weights"]
    if saved and not (kept or lost or damaged or (signals.facts.folder / "checkpoints").is_dir()):
        return NOT_MEASURED  # a copy without them
    is_gone = bool(saved) and max(saved) > max(kept, default=-1)
    seen = [Evidence("checkpoint_damaged", str(one.get("reason", ""))[:200]) for one in damaged[-2:]]
    seen += [Evidence("saved step", before, f"begun again at step {after}", after) for before, after in lost[-2:]]
    if is_gone:
        newest = f"step {max(kept)}" if kept else "none"
        seen.append(Evidence("saved step", max(saved), f"newest checkpoint there: {newest}"))
    all_gone = bool(lost) and lost[-1][1] == 0 and not signals.is_over
    return Finding(state_of(is_gone or all_gone, bool(lost or damaged)), tuple(seen))


ACCIDENTS = (
    Criterion("out_of_memory", "machine", 94, out_of_memory),
    Criterion("checkpoint_lost", "safety", 91, checkpoint_lost),
    Criterion("run_killed", "safety", 89, run_killed),
)
