"""Conclusions and their sentences: they say what the intervals say, in both languages."""

import itertools
from typing import Any

import pytest

from megatron_recipe.lab.conclusions import conclude
from megatron_recipe.lab.intervals import difference
from megatron_recipe.lab.wording import conclusion_text, duration_text, rounded, summary_text
from megatron_recipe.lab.words import CHINESE, ENGLISH

RESULT = {"measures": {"validation_loss": {"unit": "nats", "better": "lower"}}}


def conclusions(runs: dict[str, dict[int, float]], planned: int = 3) -> list[dict[str, Any]]:
    pairs = list(itertools.combinations(runs, 2))
    found = [(a, b, difference(runs[a], runs[b], 0.95, len(pairs))) for a, b in pairs]
    means = {label: sum(values.values()) / len(values) for label, values in runs.items() if values}
    return conclude(found, means, planned)


def test_a_difference_is_said_with_its_interval_and_its_seeds() -> None:
    runs = {"A": {1: 5.0, 2: 5.2, 3: 5.1}, "B": {1: 4.98, 2: 5.178, 3: 5.079}}
    (found,) = conclusions(runs)
    assert (found["kind"], found["better"], found["worse"], found["seeds"]) == ("better", "B", "A", 3)
    assert found["difference"] == pytest.approx(0.021)
    assert conclusion_text(found, RESULT, "en") == (
        "B is better than A: held-out loss lower by 0.0210 ± 0.0025 nats (3 seeds)."
    )
    assert conclusion_text(found, RESULT, "zh") == "B 优于 A：留出集损失低 0.0210 ± 0.0025 nat（3 个种子）。"


def test_no_difference_is_said_once_for_all_that_are_alike() -> None:
    runs = {"A": {1: 5.0, 2: 5.2, 3: 5.1}, "B": {1: 5.1, 2: 5.1, 3: 5.1}, "C": {1: 5.2, 2: 5.0, 3: 5.15}}
    (found,) = conclusions(runs)
    assert (found["kind"], found["labels"]) == ("no_difference", ["A", "B", "C"])
    assert conclusion_text(found, RESULT, "en").startswith("No difference shown between A, B and C in held-out loss: ")
    assert conclusion_text(found, RESULT, "zh").startswith("A、B 和 C 之间在留出集损失上未显示差别：")


def test_a_setting_that_scatters_does_not_hide_what_is_known_of_the_others() -> None:
    """The losses of 1e-4, 3e-4 and 5e-4 with gpt_100m on an H200, 2026-12-01: the last one is near its limit."""
    runs = {
        "1e-4": {1: 6.5054, 2: 6.4642, 3: 6.4907},
        "3e-4": {1: 6.2983, 2: 6.3272, 3: 6.3592},
        "5e-4": {1: 6.4305, 2: 6.3987, 3: 6.6162},
    }
    found = conclusions(runs)
    assert {tuple(one["labels"]): round(one["half_width"], 2) for one in found} == {
        ("1e-4", "3e-4"): 0.19,
        ("1e-4", "5e-4"): 0.50,
        ("3e-4", "5e-4"): 0.42,
    }
    assert all(one["kind"] == "no_difference" for one in found)


def test_what_differs_and_what_does_not_are_said_apart() -> None:
    base = {1: 5.0, 2: 5.2, 3: 5.1}
    runs = {
        "A": base,
        "B": {seed: value + 0.001 * (-1) ** seed for seed, value in base.items()},
        "C": {seed: value + 1 + 0.001 * seed for seed, value in base.items()},
    }
    found = conclusions(runs)
    assert [one["kind"] for one in found] == ["better", "better", "no_difference"]
    assert {(one["better"], one["worse"]) for one in found[:2]} == {("A", "C"), ("B", "C")}
    assert found[2]["labels"] == ["A", "B"]


def test_what_is_alike_in_pairs_is_not_said_of_all_three() -> None:
    """A is better than C; B scatters too much to be told from either."""
    base = {1: 5.0, 2: 5.2, 3: 5.1}
    runs = {
        "A": base,
        "B": {1: 5.9, 2: 4.9, 3: 5.7},
        "C": {seed: value + 1 + 0.001 * seed for seed, value in base.items()},
    }
    found = conclusions(runs)
    assert [(one["better"], one["worse"]) for one in found if one["kind"] == "better"] == [("A", "C")]
    assert [one["labels"] for one in found if one["kind"] == "no_difference"] == [["A", "B"], ["B", "C"]]


def test_of_many_settings_the_best_is_set_against_each_other_one() -> None:
    runs = {
        label: {1: level + 0.001, 2: level + 0.002, 3: level + 0.0035}
        for label, level in zip("ABCDE", range(5), strict=True)
    }
    found = conclusions(runs)
    assert [(one["better"], one["worse"]) for one in found] == [("A", other) for other in "BCDE"]


@pytest.mark.parametrize(
    ("runs", "planned", "why", "text"),
    [
        ({"A": {1: 5.0}, "B": {1: 4.0}}, 1, "one_seed", "Not measured for A and B: one seed has no spread"),
        (
            {"A": {1: 5.0, 2: 5.1}, "B": {1: 4.0}},
            3,
            "too_few_runs",
            "Not measured for A and B: too few of their runs ended",
        ),
        ({"A": {}, "B": {}}, 3, "no_held_out_loss", "Not measured: no run has measured the held-out loss"),
    ],
)
def test_what_was_not_measured_is_said(runs: dict[str, dict[int, float]], planned: int, why: str, text: str) -> None:
    (found,) = conclusions(runs, planned)
    assert (found["kind"], found["why"]) == ("not_measured", why)
    assert conclusion_text(found, RESULT, "en").startswith(text)
    assert conclusion_text(found, RESULT, "zh").partition("：")[0].endswith("未测")


def test_both_languages_have_the_same_words_and_places() -> None:
    def places(text: str) -> set[str]:
        return {part.partition("}")[0].partition(":")[0] for part in text.split("{")[1:]}

    assert ENGLISH.keys() == CHINESE.keys()
    assert {key for key in ENGLISH if places(ENGLISH[key]) != places(CHINESE[key])} == set()


def test_numbers_are_as_exact_as_they_are_known() -> None:
    assert [rounded(0.021345, half) for half in (0.006, 0.06, 0.00061)] == ["0.0213", "0.021", "0.02134"]
    assert rounded(12345.6, 230.0) == "12,346"
    assert summary_text({"mean": 5.1234, "low": 5.0, "high": 5.2468, "count": 3}) == "5.12 ± 0.12"
    assert summary_text({"mean": 5.1234, "low": None, "high": None, "count": 1}) == "5.123"
    assert summary_text(None) == "–"


def test_times_are_said_in_both_languages() -> None:
    assert [duration_text(seconds, ENGLISH) for seconds in (12.4, 250, 12_000)] == ["12 s", "4 min 10 s", "3 h 20 min"]
    assert duration_text(3_600, CHINESE) == "1 小时 00 分"
