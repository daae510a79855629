"""Problems of a run: what was done and how it ended, only as far as events and records tell."""

from pathlib import Path
from typing import Any

import pytest
from eventful_run import SPIKE, write_eventful_run

from megatron_recipe.report.problems import Problem, problems_of, shortened
from megatron_recipe.report.run_files import Run, read_run
from megatron_recipe.report.words import Words

NOTHING: dict[str, Any] = {
    "config_text": "", "logged": [], "validation": [], "validation_sets": {}, "benchmarks": {}, "given_up": [],
    "checkpoints": {}, "spending": [], "datasets": [], "perplexity": None, "samples": None, "exports": [],
}  # fmt: skip


def told(events: list[dict[str, Any]], train: tuple[dict[str, Any], ...] = ()) -> list[Problem]:
    timed = [{"time": f"2026-11-20T08:{n:02d}:00+0000", **event} for n, event in enumerate(events)]
    run = Run(folder=Path("runs/x"), config={}, environment={}, train=list(train), events=timed, **NOTHING)
    return problems_of(run, Words("en"))


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(write_eventful_run(tmp_path_factory.mktemp("project") / "runs" / "gpt_1b"))


def test_the_eventful_run(eventful: Run) -> None:
    found = problems_of(eventful, Words("en"))
    assert [(one.kind, one.is_solved) for one in found] == [
        ("out_of_memory", True), ("update_skipped", None), ("stopped", True), ("spike", True), ("straggler", None),
        ("checkpoint_failed", True),
    ]  # fmt: skip
    spike = found[3]
    again = next(record for record in eventful.train if record["step"] >= SPIKE)
    assert spike.done is not None and spike.done.startswith("Back to step 5,000")
    assert spike.result == f"Passed again: at step 5,430 the loss was {again['loss']:.3f}."
    assert found[2].result == "After a pause of 1 min 38 s."
    assert found[5].result == "The next one was saved at step 10,000."
    chinese = problems_of(eventful, Words("zh"))
    assert chinese[3].result == f"已再次走过：第 5,430 步的损失为 {again['loss']:.3f}。"


@pytest.mark.parametrize(
    "event",
    [
        {"event": "out_of_memory", "micro_batch": 16, "next": 8},
        {"event": "spike", "step": 5, "quantity": "loss", "value": 9.0, "median": 3.0, "action": "skip"},
        {"event": "checkpoint_damaged", "folder": "x", "reason": "y"},
        {"event": "straggler", "step": 5, "rank": 1},
        {"event": "update_skipped", "step": 5, "reason": "loss scale"},
        {"event": "logger_failed", "logger": "wandb", "reason": "gone"},
    ],
)
def test_nothing_is_called_solved_without_a_record_of_it(event: dict[str, Any]) -> None:
    (problem,) = told([event])
    assert problem.is_solved is None


@pytest.mark.parametrize(
    "event",
    [
        {"event": "rollback", "from_step": 5, "to_step": 2},
        {"event": "stopped", "step": 5, "reason": "SIGTERM"},
        {"event": "failed", "step": 5, "error": "RuntimeError: x"},
        {"event": "checkpoint_failed", "step": 5, "reason": "full"},
        {"event": "diagnosis", "step": 5, "message": "no"},
    ],
)
def test_what_nothing_followed_is_not_solved(event: dict[str, Any]) -> None:
    (problem,) = told([event])
    assert problem.is_solved is False


def test_a_jump_is_over_when_the_next_record_is_near_the_median() -> None:
    spike = {"event": "spike", "step": 5, "quantity": "loss", "value": 9.0, "median": 3.0, "action": "skip"}
    skipped = {**spike, "event": "update_skipped", "reason": "spike"}
    for loss, solved in ((3.4, True), (8.0, False)):
        (problem,) = told([spike, skipped], ({"step": 6, "loss": loss},))
        assert (problem.is_solved, problem.result) == (solved, f"Loss {loss} at step 6.".replace("8.0", "8"))


def test_a_process_that_ended_without_a_word_was_killed() -> None:
    events = [{"event": "start", "step": 0}, {"event": "resume", "step": 40}, {"event": "end", "step": 50}]
    (killed,) = told(events)
    assert (killed.kind, killed.done) == ("killed", "Continued from step 40.")
    stopped = [events[0], {"event": "stopped", "step": 40, "reason": "SIGTERM"}, *events[1:]]
    assert [one.kind for one in told(stopped)] == ["stopped"]


def test_many_of_a_kind_are_counted() -> None:
    problems = told([{"event": "straggler", "step": n, "rank": 1} for n in range(20)])
    few, more = shortened(problems)
    assert (len(few), more) == (6, {"straggler": 14})
