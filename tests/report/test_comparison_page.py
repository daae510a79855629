"""The comparison's report read back: its numbers against comparison.json, its curves against the runs' metrics."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_page import Page, text_of
from made_comparison import LABELS, LOSSES, STEP_TOKENS, changed, comparison, write_comparison

from megatron_recipe.report import write_comparison_report
from megatron_recipe.report.comparison import comparison_document, shown_best
from megatron_recipe.report.comparison_curves import in_common, loss_over_tokens, setting_curves
from megatron_recipe.report.comparison_figures import colour_of, dashes_of, loss_range
from megatron_recipe.report.comparison_file import read_comparison
from megatron_recipe.report.comparison_words import amount, override_text, signed
from megatron_recipe.report.markdown import render_markdown
from megatron_recipe.report.series import Series

BOTH = pytest.mark.parametrize("lang", ["en", "zh"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison(tmp_path_factory.mktemp("comparisons") / "learning_rate")


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, Page]:
    return {
        lang: Page(write_comparison_report(folder, lang=lang, out=folder / f"{lang}.html")) for lang in ("en", "zh")
    }


def markdown(folder: Path, lang: str = "en") -> str:
    return render_markdown(comparison_document(read_comparison(folder), lang, "report.html", "2026-11-24T22:00:00Z"))


def written(folder: Path, content: dict[str, Any]) -> Page:
    return Page(write_comparison_report(write_comparison(folder, content)))


@BOTH
def test_the_table_holds_the_numbers_of_the_file(pages: dict[str, Page], lang: str) -> None:
    rows = {row[0].rstrip(" ↓↑"): row[1:] for row in pages[lang].rows("outcome")}
    name, unmeasured = {"en": ("Held-out loss", "not measured"), "zh": ("留出集损失", "未测")}[lang]
    assert rows[name] == [f"{x:.4f} {x * 0.99:.4f} – {x * 1.01:.4f}" for x in LOSSES.values()]
    perplexity = {"en": "Perplexity", "zh": "困惑度"}[lang]
    assert [cell.split()[0] for cell in rows[perplexity]] == [f"{math.exp(x):.1f}" for x in LOSSES.values()]
    assert next(cells for label, cells in rows.items() if label.startswith("MFU")) == [unmeasured] * 3
    cost = {"en": "Cost", "zh": "花费"}[lang]
    assert rows[cost][0].split()[0] == "¥0.42"


@BOTH
def test_conclusions_are_those_of_the_file_in_words(pages: dict[str, Page], lang: str) -> None:
    answer = text_of(pages[lang].section("answer"))
    better, alike = {
        "en": ("5e-4 is better than 1e-4: held-out loss lower by 0.218 ± 0.050 nats (3 seeds).",
               "No difference shown between 3e-4 and 5e-4 in held-out loss"),
        "zh": ("5e-4 优于 1e-4：留出集损失低 0.218 ± 0.050 nat（3 个种子）。",
               "3e-4 和 5e-4 之间在留出集损失上未显示差别"),
    }[lang]  # fmt: skip
    assert better in answer
    assert alike in answer
    assert {"en": "3e-4 is best.", "zh": "3e-4 最好。"}[lang] in answer


def test_a_difference_is_marked_as_shown_only_where_the_file_says_so(pages: dict[str, Page]) -> None:
    rows = pages["en"].rows("pairs")
    assert rows[0] == ["1e-4 − 3e-4", "+0.2100", "+0.1700 to +0.2500", "3", "yes"]
    assert rows[2] == ["3e-4 − 5e-4", "+0.0080", "−0.0220 to +0.0380", "3", "no"]
    assert pages["en"].rows("other-pairs")[0][2] == "−3"
    drawing = pages["en"].drawing("differences860")
    assert text_of(drawing, skip=("style",)).count("−") >= 3  # the pairs' names stand in the drawing
    assert sum(e.get("id", "").startswith("differences860-interval") for e in drawing.iter()) == 3


def test_every_setting_has_a_mean_and_a_band(pages: dict[str, Page]) -> None:
    for kind in ("train", "validation"):
        for size in (860, 380):
            ids = {e.get("id", "") for e in pages["en"].drawing(f"{kind}{size}").iter()}
            assert {f"{kind}{size}-{part}{number}" for part in ("mean", "band") for number in range(3)} <= ids
    assert pages["en"].html.count("var(--set-") > 12
    assert "#0001" not in pages["en"].html


def test_curves_are_means_over_the_seeds(folder: Path) -> None:
    curve = setting_curves(read_comparison(folder), "validation")[1]
    runs = [loss_over_tokens(folder / f"runs/3e-4-seed{seed}", "validation") for seed in (1, 2, 3)]
    assert curve.mean is not None
    assert curve.mean.values == pytest.approx(np.mean([run.values for run in runs], axis=0))
    assert curve.low == pytest.approx(np.min([run.values for run in runs], axis=0))
    assert list(curve.mean.steps) == [STEP_TOKENS * step for step in range(32, 257, 32)]


def test_only_tokens_that_all_seeds_have_are_averaged() -> None:
    first = Series(np.array([1.0, 2.0, 3.0]), np.array([5.0, np.nan, 3.0]))
    second = Series(np.array([1.0, 3.0, 4.0]), np.array([7.0, 5.0, 4.0]))
    tokens, losses = in_common([first, second])
    assert list(tokens) == [1.0, 3.0]
    assert losses.tolist() == [[5.0, 3.0], [7.0, 5.0]]


def test_several_held_out_sets_count_as_their_mean(tmp_path: Path) -> None:
    lines = [
        {"kind": f"validation/{name}", "step": step, "tokens": 10 * step, "loss": loss}
        for step, name, loss in [(1, "a", 4.0), (1, "b", 6.0), (2, "a", 3.0), (2, "b", 4.0), (3, "a", 1.0)]
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = loss_over_tokens(tmp_path, "validation")
    assert (list(curve.steps), list(curve.values)) == ([10.0, 20.0], [5.0, 3.5])


def test_settings_are_told_apart_without_colour() -> None:
    looks = {(colour_of(number), dashes_of(number)) for number in range(32)}
    assert len(looks) == 32
    assert len({dashes_of(number) for number in range(4)}) == 4


def test_one_seed_gives_no_interval_and_no_judgement(tmp_path: Path) -> None:
    page = written(tmp_path, comparison(seeds=(1,)))
    said = text_of(page.root)
    assert "is better than" not in said and "±" not in said
    assert "Not measured for 1e-4, 3e-4 and 5e-4: one seed has no spread" in said
    assert "No difference with an interval could be computed" in said
    rows = {row[0].rstrip(" ↓↑"): row[1:] for row in page.rows("outcome")}
    assert rows["Held-out loss"] == [f"{loss:.4f}" for loss in LOSSES.values()]


def test_runs_that_did_not_finish_are_named_and_in_no_mean(tmp_path: Path) -> None:
    content = changed(comparison(), "5e-4", 2, state="failed", reason="the loss is NaN at step 85")
    page = written(tmp_path, changed(content, "1e-4", 3, state="not run"))
    assert page.rows("unfinished") == [
        ["1e-4", "3", "not run", "no reason recorded"],
        ["5e-4", "2", "failed", "the loss is NaN at step 85"],
    ]
    assert "7 of 9 runs have finished" in text_of(page.section("answer"))
    curves = setting_curves(read_comparison(tmp_path), "train")
    assert [curve.seeds for curve in curves] == [2, 3, 2]
    assert [len(curve.alone) for curve in curves] == [0, 0, 1]


def test_a_run_that_diverged_does_not_squash_the_others(tmp_path: Path) -> None:
    write_comparison(tmp_path, changed(comparison(), "5e-4", 2, state="failed"))
    wild = [{"kind": "train", "step": s, "tokens": STEP_TOKENS * s, "loss": 10.0 ** (s / 10)} for s in range(1, 60)]
    (tmp_path / "runs/5e-4-seed2/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in wild))
    low, high = loss_range(setting_curves(read_comparison(tmp_path), "train"))
    assert 5.0 < low < 5.5 and high < 8.5


def test_a_comparison_whose_runs_are_elsewhere_has_no_curves(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text(json.dumps(comparison()))
    page = Page(write_comparison_report(tmp_path))
    assert "not at the places that comparison.json names" in text_of(page.section("curves"))
    assert page.rows("pairs")


def test_a_comparison_that_has_not_begun(tmp_path: Path) -> None:
    content = comparison()
    for setting in content["settings"]:
        setting["summary"] = {}
        setting["runs"] = [{**run, "state": "not run"} for run in setting["runs"]]
    page = written(tmp_path, {**content, "pairs": [], "conclusions": [], "hardware": None})
    assert {cell for row in page.rows("outcome") for cell in row[1:]} == {"not measured"}
    assert "No conclusion was computed yet." in text_of(page.section("answer"))


def test_foreign_text_does_not_act(tmp_path: Path) -> None:
    text = json.dumps(comparison()).replace('"5e-4"', '"<script>|`x`"')
    page = written(tmp_path, json.loads(text))
    assert not list(page.root.iter("script"))
    assert "<script>|`x`" in text_of(page.section("answer"))
    lines = [line for line in markdown(tmp_path).splitlines() if "script" in line and line.startswith("|")]
    assert lines and all("&lt;script>\\|\\`x\\`" in line for line in lines)


@BOTH
def test_markdown_says_the_same(folder: Path, pages: dict[str, Page], lang: str) -> None:
    text = markdown(folder, lang)
    for row in pages[lang].rows("pairs"):
        assert f"| {row[0]} | {row[1]} | {row[2]} | {row[3]} |" in text
    for section in ("answer", "origin"):
        assert all(
            p.text in text.replace("\\", "")
            for p in pages[lang].section(section).iter("p")
            if p.get("class") == "result"
        )
    assert "megatron-recipe lab compare learning_rate --seeds 1,2,3" in text
    assert "<" not in text.replace("&lt;", "")


def test_only_a_setting_that_beats_all_others_is_set_off(folder: Path) -> None:
    read = read_comparison(folder)
    assert shown_best(read, "validation_loss") is None
    everywhere = [pair.__class__(**{**vars(pair), "is_shown": True}) for pair in read.pairs]
    assert shown_best(read.__class__(**{**vars(read), "pairs": everywhere}), "validation_loss") == "5e-4"


def test_more_settings_than_columns_stand_in_rows(tmp_path: Path) -> None:
    content = comparison()
    more = [{**content["settings"][0], "label": f"more {n}"} for n in range(3)]
    page = written(tmp_path, {**content, "settings": [*content["settings"], *more]})
    assert [row[0] for row in page.rows("outcome")] == [*LABELS, "more 0", "more 1", "more 2"]


@pytest.mark.parametrize(
    ("value", "measure", "unit", "text"),
    [
        (0.00512, "cost", "CNY", "¥0.00512"),
        (12.3, "cost", "USD", "$12.30"),
        (41.26, "mfu_full", "%", "41.3%"),
        (1234.4, "steps_to_target", "steps", "1,234"),
        (9.876, "perplexity", "", "9.88"),
    ],
)
def test_amounts(value: float, measure: str, unit: str, text: str) -> None:
    assert amount(value, measure, unit) == text
    assert signed(-value, measure, unit) == f"−{text}"
    assert signed(value, measure, unit) == f"+{text}"


def test_overrides_are_written_as_one_writes_them() -> None:
    assert [override_text(x) for x in (1e-4, 0.05, 64, True, [{"path": "a"}])] == [
        "1e-4", "0.05", "64", "True", '[{"path": "a"}]'
    ]  # fmt: skip
