"""Sentences of a retrospective that numbers make: what bears on doing it otherwise, and what can be told of it.

A sentence whose numbers are not all known is not written.
"""

import numpy as np

from megatron_recipe.report.bill import Bill
from megatron_recipe.report.formats import decimal, fact, integer, money, percent, ratio, short
from megatron_recipe.report.problems import Problem
from megatron_recipe.report.run_files import Run
from megatron_recipe.report.series import series
from megatron_recipe.report.summary import Summary, device_label
from megatron_recipe.report.training import is_number
from megatron_recipe.report.words import Words

COMPUTE_OPTIMAL = 20
"""Tokens per parameter (Hoffmann et al., 2022, table 3)."""


def lessons(run: Run, summary: Summary, idle_seconds: float | None, problems: list[Problem], words: Words) -> list[str]:
    """Measured facts that bear on what to do otherwise; no advice is made of them.

    Args:
        idle_seconds: between the instances of the run; None where it is not known.
    """
    said = []
    if summary.tokens_per_parameter is not None:
        said.append(words("lesson.tokens", ratio=ratio(summary.tokens_per_parameter), optimal=COMPUTE_OPTIMAL))
    if idle_seconds:
        said.append(words("lesson.idle", idle=words.duration(idle_seconds)))
    if run.train:
        said.append(words("lesson.redone", records=integer(summary.redone_records), all=integer(len(run.train))))
    blocked = [event["blocked_seconds"] for event in run.events if is_number(event.get("blocked_seconds"))]
    if blocked:
        said.append(words("lesson.blocked", saves=integer(len(blocked)), time=words.duration(sum(blocked))))
    waiting = series(run.train, "data_wait_share").finite
    if len(waiting):
        said.append(words("lesson.data_wait", share=percent(float(np.median(waiting)))))
    if summary.mfu_full is not None:
        said.append(words("lesson.mfu", mfu=percent(summary.mfu_full)))
    unsolved = sum(problem.is_solved is False for problem in problems)
    if unsolved:
        said.append(words("lesson.unsolved", count=unsolved))
    return said


def points(run: Run, summary: Summary, bill: Bill, problems: list[Problem], words: Words) -> list[str]:
    """What can be told of the run, each with its file."""
    device, counts = device_label(run.environment), _counts(run)
    told = []
    if summary.parameters and summary.tokens and device and summary.seconds:
        told.append(
            words(
                "point.trained",
                parameters=short(summary.parameters),
                tokens=short(summary.tokens),
                device=device,
                duration=words.duration(summary.seconds),
            )
        )
    if summary.mfu_full is not None and summary.tokens_per_second_per_gpu is not None:
        speed = integer(summary.tokens_per_second_per_gpu)
        told.append(words("point.speed", speed=speed, mfu=percent(summary.mfu_full)))
    if run.events:
        told.append(words("point.operation", **{name: integer(count) for name, count in counts.items()}))
    solved = sum(problem.is_solved is True for problem in problems)
    if problems:
        told.append(words("point.problems", problems=integer(len(problems)), solved=integer(solved)))
    if bill.amount is not None and summary.tokens:
        per_billion = money(bill.amount / summary.tokens * 1e9, bill.currency or "")
        told.append(words("point.cost", amount=money(bill.amount, bill.currency or ""), per_billion=per_billion))
    if summary.held_out and summary.held_out.gap is not None:
        gap = decimal(summary.held_out.gap)
        told.append(words("point.held_out", loss=decimal(summary.held_out.loss), gap=gap))
    for dataset in run.datasets:
        if dataset.manifest:
            found = dataset.manifest["counts"]
            kept, read = fact(found.get("kept")), fact(found.get("read"))
            told.append(words("point.data", dataset=dataset.path, kept=kept, read=read))
    return told


def _counts(run: Run) -> dict[str, int]:
    names = {"spikes": "spike", "rollbacks": "rollback", "resumes": "resume", "checkpoints": "checkpoint_saved"}
    return {name: sum(event["event"] == kind for event in run.events) for name, kind in names.items()}
