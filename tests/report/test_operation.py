"""The operation section: accidents, restarts, checkpoints and cost, against the files that they come from."""

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from eventful_run import BATCH_TOKENS, PRICE_PER_HOUR, SKIPPED, SPIKE, STEP_SECONDS, STEPS, TARGET, write_eventful_run
from html_page import NUMBER, Page, text_of
from made_run import Project, write_lines

from megatron_recipe.files import read_jsonl
from megatron_recipe.report import write_report
from megatron_recipe.report.operation import ACCIDENTS, operation_section, sentence, told_once
from megatron_recipe.report.run_files import given_up, read_run
from megatron_recipe.report.strings import TABLES, strings_for

BOTH = pytest.mark.parametrize("lang", ["en", "zh"])
SECONDS = 40 + STEP_SECONDS * STEPS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eventful_run(tmp_path_factory.mktemp("project") / "runs" / "gpt_1b")


@pytest.fixture(scope="module")
def pages(run: Path) -> dict[str, Page]:
    return {lang: Page(write_report(run, lang=lang, out=run / f"{lang}.html")) for lang in ("en", "zh")}


@BOTH
def test_counts_and_cost(pages: dict[str, Page], run: Path, lang: str) -> None:
    spent = SECONDS / 3600 * PRICE_PER_HOUR
    tokens = STEPS * BATCH_TOKENS
    records = {r["step"]: r for r in read_jsonl(run / "metrics.jsonl") if r["kind"] == "train"}  # the later pass
    joules = statistics.median(record["joules_per_token"] for record in records.values())
    expected = {
        "spikes": "1",
        "skipped-updates": "1",
        "rollbacks": "1",
        "restarts": "1",
        "samples-left-out": f"{SKIPPED[1] - SKIPPED[0]:,}",
        "cost": f"¥{spent:,.2f}",
        "per-billion": f"¥{spent / tokens * 1e9:.2f}",
        "budget": f"{100 * spent / 150:.1f}%",
    }
    read = pages[lang]
    assert {name: read.value(name) for name in expected} == expected
    assert NUMBER.findall(read.value("energy")) == [f"{joules * tokens / 3.6e6:.1f}"]
    assert [int(number) for number in re.findall(r"\d+", read.value("up"))] == [int(SECONDS // 3600), 10]


@BOTH
def test_every_accident_is_told_with_its_numbers(pages: dict[str, Page], run: Path, lang: str) -> None:
    rows = pages[lang].rows("accidents")
    events = [event for event in read_jsonl(run / "events.jsonl") if event["event"] in ACCIDENTS]
    assert len(rows) == len(events) == 7
    by_event = {event["event"]: row for event, row in zip(events, rows, strict=True)}
    assert by_event["spike"][1] == by_event["rollback"][1] == f"{SPIKE:,}"
    assert NUMBER.findall(by_event["spike"][2]) == (
        ["4.53", "21.7", "2.553"] if lang == "en" else ["4.53", "2.553", "21.7"]
    )
    numbers = [f"{TARGET:,}", f"{SKIPPED[0]:,}", f"{SKIPPED[1]:,}", "1"]
    assert NUMBER.findall(by_event["rollback"][2]) == numbers
    assert "1.31" in by_event["straggler"][2]
    assert "3,120 MB" in by_event["checkpoint_failed"][2]


@BOTH
def test_the_checkpoints_table(pages: dict[str, Page], run: Path, lang: str) -> None:
    rows = pages[lang].rows("checkpoints")
    deleted, checked = {"en": ("deleted", "with checksums"), "zh": ("已删除", "有校验和")}[lang]
    assert [row[0] for row in rows] == [f"{step:,}" for step in range(1000, 12_001, 1000) if step != 9_000]
    states = {row[0]: row[-1] for row in rows}
    assert {step for step, state in states.items() if state == checked} == {
        "4,000", "8,000", "10,000", "11,000", "12,000"
    }  # fmt: skip
    assert states["5,000"] == deleted
    marker = json.loads((run / "checkpoints" / "step_00012000" / "checkpoint.json").read_text())
    last = rows[-1]
    assert last[3:7] == [f"{marker['validation_loss']:.3f}", "24.4", "0.62", "14.5 GB"]
    assert last[1] == {"en": "best , milestone", "zh": "最好 , 里程碑"}[lang]


@BOTH
def test_held_out_sets(pages: dict[str, Page], run: Path, lang: str) -> None:
    records = read_jsonl(run / "metrics.jsonl")
    last = {record["kind"]: record for record in records if record["kind"].startswith("validation")}
    rows = pages[lang].rows("sets")
    assert [row[0] for row in rows[1:]] == ["code", "web-zh"]
    for row, kind in zip(rows, ("validation", "validation/code", "validation/web-zh"), strict=True):
        assert row[1:3] == ["12,000", f"{last[kind]['loss']:.3f}"]
    drawing = pages[lang].drawing("sets860")
    assert {e.get("id") for e in drawing.iter("g")} >= {"sets860-points", "sets860-other0", "sets860-other1"}


def test_only_what_was_measured_has_a_curve(pages: dict[str, Page], project: Project) -> None:
    panels = {e.get("id") for e in pages["en"].root.iter("g") if (e.get("id") or "").endswith("276-raw")}
    names = "mfu tflops forward data_wait loss_scale memory gpu_use gpu_power gpu_temperature energy host_memory cost"
    assert panels >= {f"{name}276-raw" for name in [*names.split(), "disk_free"]}
    assert "gpu_clock276-raw" not in panels
    plain = Page(write_report(project.run))
    text = text_of(plain.section("training"))
    assert "Held-out loss by set" not in text
    assert "GPU memory" not in text


def test_the_attempt_that_was_taken_back_is_drawn_beside_the_curve(pages: dict[str, Page], run: Path) -> None:
    drawing = pages["en"].drawing("loss860")
    ids = {e.get("id") for e in drawing.iter("g")}
    assert {"loss860-given-up0", "loss860-rollback0", "loss860-resume0", "loss860-spikes", "loss860-skipped"} <= ids
    (attempt,) = read_run(run).given_up
    assert (attempt[0]["step"], attempt[-1]["step"]) == (TARGET, SPIKE)
    assert attempt[-1]["loss"] == pytest.approx(4.53)
    assert "attempt that was taken back" in text_of(pages["en"].section("training"))


def train(step: int, loss: float) -> dict[str, Any]:
    return {"kind": "train", "step": step, "loss": loss}


def test_two_attempts_in_one_place() -> None:
    records = [
        train(1, 1),
        train(2, 2),
        train(3, 3),
        train(2, 4),
        {"kind": "validation", "step": 2, "loss": 0},
        train(2, 5),
    ]
    assert [[(r["step"], r["loss"]) for r in attempt] for attempt in given_up(records)] == [
        [(1, 1), (2, 2), (3, 3)],
        [(1, 1), (2, 4)],
    ]
    assert given_up(records[:3]) == []


@BOTH
def test_a_quiet_run_says_so(project: Project, lang: str) -> None:
    read = Page(write_report(project.run, lang=lang))
    assert read.value("spikes") == read.value("rollbacks") == read.value("samples-left-out") == "0"
    assert {"en": "no spike", "zh": "没有尖峰"}[lang] in text_of(read.section("operation"))
    assert [row[0] for row in read.rows("checkpoints")] == ["200", "400"]
    assert not [e for e in read.root.iter() if e.get("data-id") in ("cost", "budget", "energy", "up")]


@BOTH
@pytest.mark.parametrize("event", ACCIDENTS)
def test_an_accident_without_its_facts_is_still_told(event: str, lang: str) -> None:
    said = sentence(strings_for(lang), {"event": event})
    assert "None" not in said
    assert "{" not in said
    assert sentence(strings_for(lang), {"event": event, "reason": "<b>", "message": "<b>"}).count("<b>") == 0


def test_a_spike_and_the_update_that_it_cost_are_one_line() -> None:
    spike = {"event": "spike", "step": 7, "action": "skip"}
    others = [{"event": "update_skipped", "step": 7}, {"event": "update_skipped", "step": 9}]
    assert told_once([spike, *others]) == [spike, others[1]]


def test_the_best_checkpoint_of_an_earlier_time_is_called_that(project: Project) -> None:
    for step, loss in ((100, 3.0), (200, 2.5)):
        marker = project.run / "checkpoints" / f"step_{step:08d}" / "checkpoint.json"
        marker.parent.mkdir(parents=True)
        marker.write_text(json.dumps({"step": step, "kind": "best", "validation_loss": loss}))
    rows = {row.step: row for row in operation_section(read_run(project.run)).checkpoints}
    assert (rows[100].kind, rows[100].is_best) == ("was_best", False)
    assert (rows[200].kind, rows[200].is_best) == ("best", True)
    assert "best at that time" in text_of(Page(write_report(project.run)).section("operation"))


def test_not_a_number_has_its_own_sentence() -> None:
    nan = {"event": "spike", "quantity": "nan", "value": float("nan"), "median": None, "action": "rollback"}
    assert sentence(strings_for("en"), nan) == "Loss or gradient nan; going back."


def test_damaged_and_unlisted_checkpoints(project: Project) -> None:
    marker = project.run / "checkpoints" / "step_00000300" / "checkpoint.json"
    marker.parent.mkdir(parents=True)
    marker.write_text('{"step": 300, "kind": "milestone"}')
    broken = marker.parent.with_name("step_00000400") / "checkpoint.json"
    broken.parent.mkdir()
    broken.write_text("{")
    events = read_jsonl(project.run / "events.jsonl")
    damaged = {"event": "checkpoint_damaged", "folder": "step_00000400", "reason": "checkpoint.json was changed"}
    write_lines(project.run / "events.jsonl", [*events, damaged])
    rows = {row.step: row for row in operation_section(read_run(project.run)).checkpoints}
    assert {step: row.state for step, row in rows.items()} == {200: "deleted", 300: "no_checksums", 400: "damaged"}
    assert rows[300].kind == "milestone"


def test_a_run_that_was_away(project: Project) -> None:
    lines = [
        {"began": "2026-11-24T06:00:00+0000", "seconds": 600, "price_per_hour": 6.0, "currency": "usd"},
        {"began": "2026-11-24T07:00:00+0000", "seconds": 1200, "price_per_hour": 3.0, "currency": "usd"},
    ]
    (project.run / "spending.json").write_text(json.dumps({"instances": lines}))
    operation = operation_section(read_run(project.run))
    assert (operation.up_seconds, operation.wall_seconds, operation.instances) == (1800, 4800, 2)
    assert (operation.cost.spent, operation.cost.currency) == (pytest.approx(2.0), "usd")
    lines[1]["price_per_hour"] = 0.0  # continued without --price: what it cost is not known
    (project.run / "spending.json").write_text(json.dumps({"instances": lines}))
    assert operation_section(read_run(project.run)).cost.spent is None


def test_many_checkpoints_leave_the_oldest_deleted_ones_out(project: Project) -> None:
    saved = [{"time": "2026-11-24T06:00:00Z", "event": "checkpoint_saved", "step": 10 * n} for n in range(1, 101)]
    write_lines(project.run / "events.jsonl", saved)
    operation = operation_section(read_run(project.run))
    assert [row.step for row in operation.checkpoints] == [10 * n for n in range(71, 101)]
    assert operation.older_checkpoints == 70


def test_every_accident_has_words() -> None:
    for table in TABLES.values():
        assert {f"accident.{event}" for event in ACCIDENTS} <= set(table)
