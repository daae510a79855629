"""The page of several models' continuations."""

import re

import pytest

from eval.page_strings import TABLES
from eval.samples_page import render_page, short_names, side_by_side
from eval.text_metrics import metrics_by_mode


def result(model: str, texts: dict[tuple[str, str], str]) -> dict:
    samples = [
        {"prompt": prompt, "text": text, "mode": mode, "temperature": 0.0 if mode == "greedy" else 0.8, "seed": 7}
        for (prompt, mode), text in texts.items()
    ]
    created = "2026-01-02T03:04:05+0000"
    return {"model": model, "created": created, "samples": samples, "metrics": metrics_by_mode(samples)}


RESULTS = [
    result("runs/a/checkpoints/step_1", {("从前", "greedy"): "一一一一一一", ("从前", "sampled"): "<b>山\u202e</b>"}),
    result("runs/a/checkpoints/step_2", {("从前", "greedy"): "有座山，山里有座庙。", ("The", "greedy"): "end"}),
]


@pytest.mark.parametrize("lang", sorted(TABLES))
def test_every_text_stands_in_its_models_column_and_nothing_is_loaded(lang):
    page = render_page(RESULTS, lang)
    assert page.index("一一一一一一") < page.index("有座山") < page.index("&lt;b&gt;山⟨U+202E⟩")
    assert "66.7%" in page  # repetition of 一 six times: 3 runs of four, 1 new
    assert TABLES[lang]["missing"] in page
    assert page.count("<h4>step_1</h4>") == page.count("<h4>step_2</h4>") == 2
    assert not re.search(r"<script|<link|https?://|src=", page)


def test_the_tables_have_the_same_words_and_places():
    places = {
        lang: {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in table.items()}
        for lang, table in TABLES.items()
    }
    assert places["en"] == places["zh"]


def test_what_one_model_lacks_is_a_gap():
    rows = dict(side_by_side(RESULTS))
    assert list(rows) == ["从前", "The"]
    assert [[cell and cell["text"] for cell in row] for row in rows["The"]] == [[None, "end"]]


def test_names_leave_out_what_all_share():
    assert short_names(["runs/a/eval", "runs/b/eval"]) == ["a/eval", "b/eval"]
    assert short_names(["exports/a"]) == ["a"]
    assert short_names(["x", "x/y"]) == ["x", "x/y"]
