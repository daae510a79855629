"""`watch`: what it shows of runs that go on, ended, broke off or have hardly begun; how little it reads for it."""

import io
import json
import math
import os
import random
import re
import string
import time
from pathlib import Path
from typing import Any

import pytest
from eventful_run import STEPS, train_record, write_eventful_run
from rich.cells import cell_len
from rich.console import Console

from megatron_recipe import watch
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.watch.frame import frame
from megatron_recipe.watch.numbers import number_groups
from megatron_recipe.watch.run_view import RunView
from megatron_recipe.watch.words import TABLES, Words

BOTH = pytest.mark.parametrize("lang", ["en", "zh"])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run at step 10,120 of 12,000 that writes just now."""
    return write_eventful_run(tmp_path / "gpt_1b", last=10_120)


def seen(folder: Path, width: int = 80, height: int = 24, lang: str = "en", now: float | None = None) -> list[str]:
    """The lines of a frame, without colour."""
    view = RunView(folder)
    view.refresh()
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, highlight=False)
    console.print(frame(view, Words(lang), width, height, now or time.time()))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def append(path: Path, *records: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


# --- reading ---


def test_a_run_that_starts_again_forgets_the_steps_behind_its_checkpoint(run: Path) -> None:
    view = RunView(run)
    view.refresh()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] <= 9_000]
    (run / "new").write_text("\n".join(kept) + "\n")
    (run / "new").replace(run / "metrics.jsonl")
    view.refresh()
    assert view.train["step"] == view.curves["loss"].steps[-1] == 9_000
    assert view.validations["validation"]["step"] == 9_000


def test_a_config_that_is_half_written_leaves_what_was_known(run: Path) -> None:
    view = RunView(run)
    view.refresh()
    (run / "config.yaml").write_text("train: [")
    os.utime(run / "config.yaml", ns=(1, 1))
    view.refresh()
    assert view.section("train")["steps"] == STEPS


# --- what is said ---


@BOTH
@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 20), (60, 16), (120, 40), (200, 60)])
def test_a_frame_fits_its_terminal(run: Path, width: int, height: int, lang: str) -> None:
    lines = seen(run, width, height, lang)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= height
    assert len(lines) >= min(height - 1, 30)


@BOTH
def test_the_numbers_are_those_of_the_last_record(run: Path, lang: str) -> None:
    text, last = "\n".join(seen(run, lang=lang)), json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 10_120
    expected = [
        f"{last['loss']:.4f}", f"{last['grad_norm']:.3f}", "131,072", f"{last['tokens_per_second_per_gpu']:,.0f}",
        f"{last['tflops_per_gpu']:,.0f}", f"{100 * last['mfu_full']:.1f}%", f"{100 * last['mfu_causal']:.1f}%",
        "70.4 GB", f"{last['gpu_power_watts']:,.0f} W", f"¥{(40 + 2.45 * 10_120) / 3600 * 14.5:.2f}",
        f"¥{150 - (40 + 2.45 * 10_120) / 3600 * 14.5:.2f}", "10,120", "8 × NVIDIA H100 80GB HBM3",
    ]  # fmt: skip
    assert [number for number in expected if number not in text] == []
    assert f"{100 * (40 + 2.45 * 10_120) / 3600 * 14.5 / 150:.1f}%" in text  # of the budget, not of the steps


def test_held_out_losses_and_checkpoints(run: Path) -> None:
    view = RunView(run)
    view.refresh()
    text = "\n".join(seen(run, 120, 40))
    for record in view.validations.values():
        assert f"{record['loss']:.4f}" in text
    assert re.search(r"step 10,000 +best, checksums .* 14\.5 GB", text)
    assert re.search(r"step 8,000 +milestone, checksums", text)
    append(run / "events.jsonl", {"event": "checkpoint_damaged", "folder": "step_00010000", "reason": "a byte"})
    assert re.search(r"step 10,000 .*DAMAGED: a byte", "\n".join(seen(run, 120, 40)))


@pytest.mark.parametrize(
    ("lang", "label"), [("en", "benchmarks +step 10,100 (chance)"), ("zh", "基准 +第 10,100 步（随机）")]
)
def test_the_latest_benchmark_scores_with_errors_and_chance(run: Path, lang: str, label: str) -> None:
    assert "benchmarks" not in "\n".join(seen(run))
    score = {"step": 10_100, "metric": "acc_norm", "acc_norm": 0.3141, "acc_norm_stderr": 0.012, "chance": 0.25}
    odd = {"kind": "eval/odd", "step": 10_100, "metric": None, "chance": "x"}
    append(run / "metrics.jsonl", {"kind": "eval/arc_easy", **score, "acc_norm": 0.2})
    append(
        run / "metrics.jsonl", {"kind": "eval/arc_easy", **score}, {"kind": "eval/piqa", **score, "chance": 0.5}, odd
    )
    text = "\n".join(seen(run, 120, 40, lang=lang))
    assert re.search(re.escape(label).replace(r"\ \+", " +"), text)
    assert "arc_easy 31.4 ± 1.2 (25)   piqa 31.4 ± 1.2 (50)" in text
    narrow = "\n".join(seen(run, 60, 40, lang=lang))
    assert "arc_easy 31.4 ± 1.2 (25)" in narrow and "piqa 31.4 ± 1.2 (50)" in narrow


def test_accidents_stand_out_without_colour(run: Path) -> None:
    lines = seen(run, 140, 44)
    assert any("! back from step 5,430 to 5,000, samples 1,280,000 to 1,390,592 left out" in line for line in lines)
    assert any("! loss 4.53 at step 5,430, 21.7 deviations above 2.553: going back" in line for line in lines)
    assert any("  continued after step 3,000" in line and "!" not in line for line in lines)
    axis = next(line for line in lines if "└" in line)
    assert {"x", "|", "<"} <= set(axis)


def test_a_spike_and_the_update_that_it_cost_are_one_line(run: Path) -> None:
    spike = {"event": "spike", "step": 10_100, "quantity": "grad_norm", "value": 14.0, "median": 0.4, "action": "skip"}
    append(run / "events.jsonl", spike, {"event": "update_skipped", "step": 10_100, "reason": "gradient norm"})
    text = "\n".join(seen(run, 140, 44))
    assert "gradient norm 14 at step 10,100" in text
    assert "update of step 10,100" not in text


def test_a_rolled_back_attempt_is_not_in_the_curve(run: Path) -> None:
    view = RunView(run)
    view.refresh()
    index = view.curves["loss"].steps.index(5_400)
    assert view.curves["loss"].spans[index][1] < 2.7


# --- the state of the run ---


def status(run: Path, later: float = 0.0) -> str:
    view = RunView(run)
    view.refresh()
    return view.status(view.last_sign() + later).kind


def test_the_states_of_a_run(run: Path, tmp_path: Path) -> None:
    assert status(run) == "training"
    assert status(run, later=3600) == "silent"
    assert "silent for 1 h 0 min" in seen(run, now=RunView(run).last_sign() + 3600)[0]
    append(run / "events.jsonl", {"event": "stopped", "step": 10_120, "reason": "time limit"})
    assert status(run, later=3600) == "stopped"
    assert "stopped 1 h 0 min ago: time limit" in seen(run, now=RunView(run).last_sign() + 3600)[0]
    append(run / "events.jsonl", {"event": "resume", "step": 10_120})
    assert status(run) == "training"
    append(run / "events.jsonl", {"event": "end", "step": STEPS})
    assert status(run, later=3600) == "finished"
    empty = tmp_path / "new"
    empty.mkdir()
    assert status(empty) == "waiting"
    append(empty / "events.jsonl", {"event": "start", "step": 0})
    assert status(empty) == "starting"


def test_rare_records_are_no_silence(run: Path) -> None:
    config = (run / "config.yaml").read_text().replace("log_every_steps: 10", "log_every_steps: 1000")
    (run / "config.yaml").write_text(config)
    assert status(run, later=3600) == "training"  # a record every 40 minutes


def test_time_left_of_a_run_that_does_not_say_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train: {steps: 100}")
    append(tmp_path / "metrics.jsonl", {"kind": "train", "step": 40, "loss": 3.0, "step_seconds": 2.0})
    view = RunView(tmp_path)
    view.refresh()
    assert view.seconds_left(view.last_sign() + 20) == pytest.approx(100)
    assert view.progress() == pytest.approx(0.4)


# --- runs that lack things ---


@BOTH
@pytest.mark.parametrize(
    "lacking", ["config.yaml", "metrics.jsonl", "events.jsonl", "environment.json", "spending.json", "checkpoints"]
)
def test_a_run_that_lacks_a_file(run: Path, lacking: str, lang: str) -> None:
    (run / lacking).rename(run / "gone")
    assert len(seen(run, lang=lang)) >= 10


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "train: 3", "budget: {amount: x}\ntrain: {steps: y}"])
def test_a_run_whose_files_are_damaged(run: Path, text: str) -> None:
    for name in ("config.yaml", "environment.json", "spending.json", "checkpoints/step_00010000/checkpoint.json"):
        (run / name).write_text(text)
    assert f"{json.loads((run / 'metrics.jsonl').read_text().splitlines()[-1])['loss']:.4f}" in "\n".join(seen(run))


def test_odd_records(run: Path) -> None:
    record = train_record(10_130, random.Random(0))
    odd = dict.fromkeys(record, "?") | {"kind": "train", "step": 10_130, "loss": math.nan, "tokens": None}
    append(run / "metrics.jsonl", {"kind": "train"}, odd, {"kind": "validation", "step": 1, "loss": None})
    append(
        run / "events.jsonl", {"event": "spike"}, {"event": None}, {"time": 3, "event": "rollback", "from_step": "a"}
    )
    assert "step 10,130" in "\n".join(seen(run))


def test_text_from_files_does_nothing_to_the_terminal(run: Path) -> None:
    hostile = "\x1b[2J[bold]x[/bold]\u202e\nnew line"
    append(run / "events.jsonl", {"event": "diagnosis", "message": hostile}, {"event": hostile, "note": hostile})
    text = "\n".join(seen(run))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "⟨U+001B⟩[2J[bold]x[/bold]" in text


def test_a_cpu_run_shows_tokens_of_all_and_no_gpu(tmp_path: Path) -> None:
    record = {"kind": "train", "step": 5, "loss": 3.0, "tokens_per_second": 7400.0, "tokens_per_second_per_gpu": 7400.0}
    append(tmp_path / "metrics.jsonl", {**record, "memory_gb": None, "mfu_full": None})
    view = RunView(tmp_path)
    view.refresh()
    assert [label for group in number_groups(view, Words("en")) for label, _ in group] == ["loss", "tokens/s"]


def test_a_gpu_in_trouble_comes_first(run: Path) -> None:
    record = train_record(10_130, random.Random(0))
    append(run / "metrics.jsonl", {**record, "gpu_throttle": "power cap", "gpu_ecc_errors": 2})
    view = RunView(run)
    view.refresh()
    machine = number_groups(view, Words("en"))[2]
    assert machine[:2] == [("throttled", "power cap"), ("ECC errors", "2")]
    care = dict(number_groups(view, Words("en"))[3])
    assert care["slowest"] == f"{record['forward_seconds_slowest'] / 0.795:.2f} ×"


# --- words ---


def test_both_languages_have_the_same_words_and_places() -> None:
    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    assert list(TABLES["zh"]) == list(TABLES["en"])
    for key, english in TABLES["en"].items():
        assert places(english) == places(TABLES["zh"][key]), key


def test_an_event_of_an_unknown_kind_says_its_facts() -> None:
    assert Words("en").event({"time": "now", "event": "moved", "step": 12_000, "to": "x"}) == "moved step 12,000 to x"
    assert Words("en").event({"event": "update_skipped", "step": 5}) == "update of step 5 left out"
    nan = {"event": "spike", "quantity": "nan", "value": math.nan, "median": None, "step": 7, "action": "rollback"}
    assert Words("en").event(nan) == "loss or gradient is nan at step 7: going back"


# --- the command ---


def test_one_frame_where_there_is_no_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch.watch_command(run, False, "en", 1.0)
    printed = capsys.readouterr().out
    assert printed.count("gpt_1b") == 1
    assert "\x1b" not in printed


def test_a_live_frame_until_ctrl_c(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        append(run / "metrics.jsonl", {**train_record(10_120 + 10 * len(slept), random.Random(0))})
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(watch.time, "sleep", sleep)
    watch.watch_command(run, False, "zh", 2.5)
    printed = capsys.readouterr().out
    assert slept == [2.5] * 3
    assert all(step in printed for step in ("10,120", "10,130", "10,140"))
    watch.watch_command(run, True, "zh", 2.5)
    assert len(slept) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("fr", 2.0), ConfigError, "--lang=fr: unknown language; choose en or zh"),
        (("en", 0.0), ConfigError, "--interval=0 must be above 0 seconds"),
        (("en", 2.0), DataError, "no such run folder"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, float], error: type[Exception], words: str) -> None:
    folder = tmp_path / "gone" if error is DataError else tmp_path
    with pytest.raises(error, match=words):
        watch.watch_command(folder, True, *arguments)
