"""What went wrong in a run, what was done about it and how it ended: from events.jsonl and the records after it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from megatron_recipe.report.formats import decimal, fact, integer
from megatron_recipe.report.operation import told_once
from megatron_recipe.report.run_files import Record, Run
from megatron_recipe.report.training import is_number
from megatron_recipe.report.words import Words

MOST_OF_A_KIND = 6
"""Problems of one kind that are told one by one."""
INTERRUPTIONS = ("stopped", "failed")
BEGINNINGS = ("start", "resume")
ENDINGS = (*INTERRUPTIONS, "end", "diagnosis")


@dataclass(frozen=True)
class Problem:
    """One problem in words; `done` and `result` are None where nothing was recorded about them."""

    kind: str
    time: str | None
    step: Any
    what: str
    done: str | None
    result: str | None
    is_solved: bool | None
    """None where the records do not tell."""


def problems_of(run: Run, words: Words) -> list[Problem]:
    """All problems of `run`, in their order."""
    events = told_once(run.events)
    rolled_back = {
        index + 1
        for index, event in enumerate(events[:-1])
        if event["event"] == "spike" and events[index + 1]["event"] == "rollback"
    }
    found = []
    for index, event in enumerate(events):
        teller = TELLERS.get(event["event"])
        if teller is None or index in rolled_back:
            continue
        done, result, solved = teller(run, words, event, events[index + 1 :])
        found.append(_problem(words, event, done, result, solved))
    return sorted([*found, *_silent_ends(run, words)], key=lambda problem: problem.time or "")


def shortened(problems: list[Problem]) -> tuple[list[Problem], dict[str, int]]:
    """The problems that are told, and how many more there are of each kind."""
    seen: dict[str, int] = {}
    told = []
    for problem in problems:
        seen[problem.kind] = seen.get(problem.kind, 0) + 1
        if seen[problem.kind] <= MOST_OF_A_KIND:
            told.append(problem)
    return told, {kind: count - MOST_OF_A_KIND for kind, count in seen.items() if count > MOST_OF_A_KIND}


def _problem(words: Words, event: Record, done: str | None, result: str | None, solved: bool | None) -> Problem:
    step = event.get("step", event.get("from_step"))
    return Problem(event["event"], event.get("time"), step, words.accident(event), done, result, solved)


Told = tuple[str | None, str | None, bool | None]


def _spike(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    if later and later[0]["event"] == "rollback":
        return _rollback(run, words, later[0], later[1:])
    action = f"action.{event.get('action')}"
    done = words(action) if words.has(action) else None
    if event.get("action") == "stop":
        return done, _resumed(words, later), None
    return (done, *_afterwards(run, words, event))


def _rollback(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    begun = event.get("from_step")
    again = next((one for one in run.train if is_number(begun) and one["step"] >= begun), None)
    if again is None or not is_number(again["loss"]):
        return words.accident(event), words("problem.not_passed"), False
    return (
        words.accident(event),
        words("problem.passed", step=integer(again["step"]), loss=decimal(again["loss"])),
        True,
    )


def _update_skipped(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    return (words("action.skip"), *_afterwards(run, words, event))


def _out_of_memory(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    smaller = event.get("next")
    done = words("problem.micro_batch", size=smaller) if is_number(smaller) else None
    begun = next((one for one in later if one["event"] in (*BEGINNINGS, "out_of_memory")), None)
    if begun is None or begun["event"] == "out_of_memory":
        return done, None, False if begun else None
    return done, words("problem.trained_from", step=fact(begun.get("step"))), True


def _checkpoint_failed(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    saved = next((one for one in later if one["event"] == "checkpoint_saved" and is_number(one.get("step"))), None)
    if saved is None:
        return words("problem.went_on"), words("problem.none_saved"), False
    return words("problem.went_on"), words("problem.saved", step=integer(saved["step"])), True


def _checkpoint_damaged(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    begun = next((one for one in later if one["event"] in BEGINNINGS), None)
    if begun is None:
        return words("problem.older"), None, None
    return words("problem.older"), words("problem.trained_from", step=fact(begun.get("step"))), True


def _straggler(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    again = sum(one["event"] == "straggler" for one in later)
    return None, words("problem.seen_again", count=again) if again else words("problem.not_again"), None


def _copy_failed(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    copied = next((one for one in later if one["event"] == "run_copied"), None)
    if copied is None:
        return words("problem.went_on"), None, False
    return words("problem.went_on"), words("problem.copied", step=fact(copied.get("step"))), True


def _logger_failed(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    return words("problem.went_on"), None, None


def _diagnosis(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    resumed = _resumed(words, later)
    return words("action.stop"), resumed, None if resumed else False


def _interruption(run: Run, words: Words, event: Record, later: list[Record]) -> Told:
    resumed = next((one for one in later if one["event"] == "resume"), None)
    if resumed is None:
        return None, words("problem.not_resumed"), False
    gap = _seconds_between(event, resumed)
    done = words("problem.resumed", step=fact(resumed.get("step")))
    return done, words("problem.pause", duration=words.duration(gap)) if gap is not None else None, True


def _silent_ends(run: Run, words: Words) -> list[Problem]:
    """Resumes of a process that had not said that it ended: it was killed, or its machine taken away."""
    found, is_open = [], False
    for event in run.events:
        if event["event"] in BEGINNINGS:
            if event["event"] == "resume" and is_open:
                done = words("problem.resumed", step=fact(event.get("step")))
                what = words("problem.killed")
                found.append(Problem("killed", event.get("time"), event.get("step"), what, done, None, True))
            is_open = True
        elif event["event"] in ENDINGS:
            is_open = False
    return found


def _resumed(words: Words, later: list[Record]) -> str | None:
    resumed = next((one for one in later if one["event"] == "resume"), None)
    return words("problem.resumed", step=fact(resumed.get("step"))) if resumed else None


def _afterwards(run: Run, words: Words, event: Record) -> tuple[str | None, bool | None]:
    """What jumped, in the next record; it is solved where that is nearer to the median than to the jump."""
    step, quantity = event.get("step"), event.get("quantity")
    field = "grad_norm" if quantity == "grad_norm" else "loss"
    after = next(
        (one for one in run.train if is_number(step) and one["step"] > step and is_number(one.get(field))), None
    )
    if after is None:
        return None, None
    text = words(
        "problem.afterwards", what=words(f"quantity.{field}"), step=integer(after["step"]), value=fact(after[field])
    )
    value, median = event.get("value"), event.get("median")
    if quantity == "nan":
        return text, True
    if quantity is None or not is_number(value) or not is_number(median):
        return text, None
    return text, abs(after[field] - median) < abs(value - median) / 2


def _seconds_between(first: Record, second: Record) -> float | None:
    try:
        begun, ended = (datetime.fromisoformat(str(one.get("time"))) for one in (first, second))
        return max((ended - begun).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


TELLERS: dict[str, Callable[[Run, Words, Record, list[Record]], Told]] = {
    "spike": _spike,
    "rollback": _rollback,
    "update_skipped": _update_skipped,
    "out_of_memory": _out_of_memory,
    "checkpoint_failed": _checkpoint_failed,
    "checkpoint_damaged": _checkpoint_damaged,
    "straggler": _straggler,
    "copy_failed": _copy_failed,
    "logger_failed": _logger_failed,
    "evaluation_failed": _logger_failed,
    "diagnosis": _diagnosis,
    "stopped": _interruption,
    "failed": _interruption,
}
"""How the end of each kind of problem is looked up: what was done, how it ended, whether that solved it."""
