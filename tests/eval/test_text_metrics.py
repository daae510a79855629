"""Repetition and distinct n-grams of cases done by hand."""

import pytest

from eval.text_metrics import distinct, metrics_by_mode, repetition, units


def test_units_are_words_and_han_characters():
    assert units("Qwen训练 3.14, 模型。\n") == ["Qwen", "训", "练", "3.14,", "模", "型", "。"]


def test_repetition_is_the_share_of_runs_of_four_that_are_not_new():
    assert repetition("a b c d e f g") == 0
    assert repetition("a b a b a b a") == pytest.approx(1 - 2 / 4)  # abab, baba, abab, baba
    assert repetition("好好好好好好好好") == pytest.approx(1 - 1 / 5)
    assert repetition("a b c") is None


def test_distinct_counts_over_all_texts():
    assert distinct(["a b", "a c"], 1) == 3 / 4
    assert distinct(["a b a b", "a b"], 2) == pytest.approx(2 / 4)
    assert distinct(["a"], 2) is None


def test_figures_by_mode():
    samples = [
        {"mode": "greedy", "text": "一二三四一二三四"},
        {"mode": "greedy", "text": " "},
        {"mode": "sampled", "text": "short"},
    ]
    found = metrics_by_mode(samples)
    assert found["greedy"]["texts"] == 2 and found["greedy"]["empty"] == 1
    assert found["greedy"]["mean_units"] == 4
    assert found["greedy"]["repetition_4"] == pytest.approx(1 / 5)
    assert found["sampled"]["repetition_4"] is None and found["sampled"]["distinct_1"] == 1
