"""The tables of the incidents benchmark."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.incident_tables import BEGIN, END, PAGES, Row, last_line, section, text_table, with_section
from benchmarks.incidents import seeds_of

FIRST = {"lr-x10": {11: "update_too_large", 12: "loss_explodes"}, "node-killed": {11: "run_killed", 12: ""}}
ROWS = [
    Row(
        name=name,
        planted=[next(iter(first.values()))],
        first=first,
        seen={11: True, 12: name == "lr-x10"},
        controls=2,
        seen_in_controls=[] if name == "lr-x10" else [12],
        recovered=1.01 if name == "lr-x10" else None,
        should_recover=True,
        title=(name.upper(), "事故"),
    )
    for name, first in FIRST.items()
]
CONTROLS = {"control, seed-11": (["loss_explodes"], []), "control, seed-12": ([], ["activations"])}


def test_hits_are_runs_whose_cause_stands_first() -> None:
    assert [(row.hits, row.runs, row.others) for row in ROWS] == [(1, 2, "loss_explodes"), (1, 2, "-")]
    assert last_line(ROWS, CONTROLS) == "incidents=2 runs=4 hits=2 false_alarms=1 controls=2"


def test_the_console_names_what_went_wrong() -> None:
    lines = text_table(ROWS, CONTROLS).splitlines()
    assert lines[1].split() == ["lr-x10", "update_too_large", "1/2", "2/2", "0/2", "1.010", "loss_explodes"]
    assert lines[-2:] == ["control, seed-11: wrong: loss_explodes", "control, seed-12: attention: activations"]


@pytest.mark.parametrize(
    ("lang", "row"),
    [
        ("en", "| NODE-KILLED | `run_killed` | 1 / 2 (instead -) | 1 / 2 | 1 / 2 | - |"),
        ("zh", "| 事故 | `run_killed` | 1 / 2 (而是 -) | 1 / 2 | 1 / 2 | - |"),
    ],
)
def test_a_section_has_the_figures_and_where_they_are_from(lang: str, row: str) -> None:
    text = section(ROWS, CONTROLS, lang, "python -m benchmarks.incidents", [11, 12], [11, 12])
    assert row in text.splitlines()
    assert "`python -m benchmarks.incidents`" in text and "11, 12" in text
    assert "control, seed-12 (activations)" in text
    several = section([ROWS[0], replace(ROWS[1], planted=["run_killed", "run_silent"])], CONTROLS, lang, "", [11], [11])
    assert {"en": "Without these incidents: 1 of 2.", "zh": "不算这些事故：2 次中 1 次。"}[lang] in several
    assert "{" not in text


def test_seeds_are_lists_or_ranges() -> None:
    assert seeds_of("11,13") == [11, 13]
    assert seeds_of("11-13") == [11, 12, 13]


def test_the_section_stands_between_its_marks() -> None:
    text = f"a\n{BEGIN}\nold\n{END}\nb\n"
    assert with_section(text, "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"


def test_both_committed_pages_are_of_one_run() -> None:
    docs = Path(__file__).parents[2] / "docs"
    rows = []
    for name in PAGES.values():
        measured = (docs / name).read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
        rows.append([line.split("|")[2] for line in measured.splitlines() if "| `" in line])
    assert len(rows[0]) >= 12
    assert rows[0] == rows[1]
