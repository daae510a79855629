"""Benchmark scores of a run on its page: the numbers of the last evaluation, chance as a line, the axis of the loss."""

import json
import re
from typing import Any

import pytest
from html_page import Page, page, text_of
from made_run import STEPS, Project, write

from megatron_recipe.errors import DataError
from megatron_recipe.files import read_jsonl
from megatron_recipe.report import write_retrospective
from megatron_recipe.report.benchmarks import benchmark_section
from megatron_recipe.report.run_files import read_run


def score_record(step: int, name: str, score: float, error: float | None, **changes: Any) -> dict[str, Any]:
    numbers = {"acc": 0.2, "acc_stderr": 0.01, "acc_norm": score, "acc_norm_stderr": error}
    return {
        "kind": f"eval/{name}",
        "step": step,
        **numbers,
        "metric": "acc_norm",
        "chance": 0.25,
        "questions": 1500,
    } | (changes)


def add(project: Project, *records: dict[str, Any]) -> None:
    """Put records where the trainer writes them, by their steps."""
    file = project.run / "metrics.jsonl"
    every = sorted([*read_jsonl(file), *records], key=lambda record: record["step"])
    file.write_text("".join(json.dumps(record) + "\n" for record in every), encoding="utf-8")


def with_scores(project: Project) -> Project:
    """The last two evaluations of two benchmarks."""
    add(project, score_record(300, "hellaswag", 0.31, 0.011), score_record(300, "arc_easy", 0.24, 0.02))
    add(project, score_record(STEPS, "hellaswag", 0.293, 0.012), score_record(STEPS, "arc_easy", 0.27, 0.021))
    return project


@pytest.mark.parametrize(
    ("lang", "above", "not_above"),
    [("en", "above chance", "not distinguishable from chance"), ("zh", "高于随机", "与随机猜测无法区分")],
)
def test_the_table_has_the_last_scores_and_says_whether_they_are_chance(project, lang, above, not_above):
    rows = page(with_scores(project), lang).rows("benchmarks")
    step = f"{STEPS:,}"
    assert sorted(rows) == [
        ["arc_easy", step, "27.0% ± 2.1%", "27.0%", "25.0%", "1,500", not_above],
        ["hellaswag", step, "29.3% ± 1.2%", "31.0%", "25.0%", "1,500", above],
    ]


def test_each_benchmark_has_a_drawing_with_errors_and_chance(project):
    read = page(with_scores(project))
    for name in ("hellaswag", "arc_easy"):
        prefix = f"benchmark-{name}276"
        ids = {element.get("id") for element in read.drawing(prefix).iter("g")}
        assert {f"{prefix}-points", f"{prefix}-errors", f"{prefix}-level"} <= ids
    assert "chance 25.0%" in text_of(read.section("training"))


def ticks(read: Page, prefix: str) -> list[tuple[str, float]]:
    """Labels of a drawing's axis of steps, with their places in pixels."""
    axis = next(e for e in read.drawing(prefix).iter("g") if e.get("id") == f"{prefix}-matplotlib.axis_1")
    found = []
    for text in axis.iter("text"):
        place = re.search(r"translate\(([0-9.]+)", text.get("transform") or "")
        found.append(("".join(text.itertext()).strip(), float(text.get("x") or (place[1] if place else "nan"))))
    return found


def test_the_axis_is_that_of_the_loss(project):
    """Evaluations of the last quarter alone stand where they belong in the whole run."""
    read = page(with_scores(project))
    assert ticks(read, "benchmark-hellaswag276") == ticks(read, "learning_rate276") != []


def test_a_score_without_an_error_has_no_verdict(project):
    add(project, score_record(STEPS, "arc_easy", 1.0, None, questions=1))
    section = benchmark_section(read_run(project.run))
    assert [(row.error, row.verdict) for row in section.rows] == [(None, None)]
    assert page(project).rows("benchmarks")[0][2:] == ["100.0%", "100.0%", "25.0%", "1", "—"]


def test_a_run_without_benchmarks_does_not_speak_of_them(project):
    assert benchmark_section(read_run(project.run)) is None
    assert "Benchmarks" not in text_of(page(project).section("training"))


def test_a_record_without_its_score_is_damaged(project):
    add(project, score_record(STEPS, "arc_easy", 0.3, 0.1, metric="acc_mean"))
    with pytest.raises(DataError, match=r"metrics\.jsonl, line \d+: damaged, without .*acc_mean"):
        read_run(project.run)


def test_the_retrospective_has_the_scores_of_training_where_the_exported_model_was_not_asked(project):
    entry = {"score": 0.2754, "stderr": 0.0045, "chance": 0.25, "questions": 10_042}
    write(project.root / "exports/demo/eval/harness.json", {"tasks": {"hellaswag": entry}})
    rows = Page(write_retrospective(with_scores(project).run)).rows("scores")
    assert sorted(rows) == [
        [
            f"arc_easy while training, step {STEPS:,}",
            "27.0% ± 2.1%",
            "25.0%",
            "1,500",
            "not distinguishable from chance",
        ],
        ["hellaswag", "27.5% ± 0.4%", "25.0%", "10,042", "above chance"],
    ]
