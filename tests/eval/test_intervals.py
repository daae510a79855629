"""Bootstrap intervals against what is known."""

import numpy as np

from eval import intervals
from eval.intervals import bootstrap_interval


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    """Of 400 documents of equal weight: mean ± 1.96 standard errors."""
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    low, high = bootstrap_interval(values, np.ones(400))
    half = 1.96 * values.std() / 20
    assert abs(low - (values.mean() - half)) < 0.15 * half
    assert abs(high - (values.mean() + half)) < 0.15 * half


def test_documents_are_drawn_whole():
    """Equal ratios in documents of any size leave no spread; one document says nothing about others."""
    weights = np.array([1.0, 10.0, 1000.0])
    low, high = bootstrap_interval(3 * weights, weights)
    assert abs(low - 3) < 1e-12 and abs(high - 3) < 1e-12
    assert bootstrap_interval(np.array([1.0]), np.array([2.0])) is None


def test_it_does_not_depend_on_the_memory(monkeypatch):
    values, weights = np.arange(1.0, 51), np.arange(2.0, 52)
    whole = bootstrap_interval(values, weights)
    monkeypatch.setattr(intervals, "AT_ONCE", 50 * 7)
    assert bootstrap_interval(values, weights) == whole


def test_95_of_100_intervals_hold_the_true_ratio():
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        weights = generator.integers(1, 100, 60).astype(float)
        low, high = bootstrap_interval(weights * generator.normal(2.0, 0.5, 60), weights)
        held += low <= 2.0 <= high
    assert 178 <= held <= 198
