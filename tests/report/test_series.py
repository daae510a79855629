"""Gaps, smoothing, downsampling and the frame, against values worked out another way."""

import math
import random

import numpy as np
import pytest

from megatron_recipe.report.series import (
    Series,
    above,
    downsample,
    not_finite_steps,
    series,
    smooth,
    smoothing_window,
    visible_range,
)

NAN = float("nan")


def curve(values: list[float]) -> Series:
    return Series(np.arange(1.0, len(values) + 1), np.array(values, dtype=np.float64))


def test_what_is_not_finite_becomes_a_gap_and_is_reported() -> None:
    records = [
        {"step": step, "loss": loss} for step, loss in enumerate([2.0, NAN, math.inf, -math.inf, None, 1.0], start=1)
    ]
    read = series(records, "loss")
    assert np.isnan(read.values).tolist() == [False, True, True, True, True, False]
    assert not_finite_steps(records, "loss") == [2, 3, 4]  # null was not measured, which is no failure
    assert series(records, "grad_norm").finite.size == 0


def test_smoothing_is_the_mean_of_the_finite_points_in_the_window() -> None:
    noise = random.Random(1)
    values = [noise.uniform(1, 9) for _ in range(500)]
    values[100] = values[101] = NAN
    half = smoothing_window(500) // 2
    smoothed = smooth(curve(values)).values
    for index, value in enumerate(values):
        window = [v for v in values[max(0, index - half) : index + half + 1] if not math.isnan(v)]
        if math.isnan(value):
            assert math.isnan(smoothed[index])
        else:
            assert smoothed[index] == pytest.approx(sum(window) / len(window), rel=1e-12)


def test_a_short_curve_is_its_own_smoothing() -> None:
    assert smooth(curve([3.0, 1.0, 2.0])).values.tolist() == [3.0, 1.0, 2.0]
    assert [smoothing_window(points) for points in (0, 19, 20, 250, 1000)] == [1, 1, 5, 5, 21]


def test_downsampling_keeps_spikes_dips_gaps_and_both_ends() -> None:
    values = [5.0 + 0.001 * (i % 7) for i in range(100_000)]
    values[54_321], values[77_777], values[60_000] = 99.0, -3.0, NAN
    few = downsample(curve(values), 900)
    assert len(few.values) <= 900
    assert (few.steps[0], few.steps[-1]) == (1, 100_000)
    assert (np.diff(few.steps) > 0).all()
    kept = dict(zip(few.steps.tolist(), few.values.tolist(), strict=True))
    assert kept[54_322] == 99.0
    assert kept[77_778] == -3.0
    assert math.isnan(kept[60_001])


def test_downsampling_leaves_a_short_curve_alone() -> None:
    short = curve([1.0, NAN, 3.0])
    assert downsample(short, 900) is short


def test_downsampling_a_curve_without_any_value() -> None:
    assert np.isnan(downsample(curve([NAN] * 5000), 300).values).all()


def test_the_steep_beginning_does_not_squash_the_rest() -> None:
    values = [11.0] * 10 + [3.0 + 0.001 * i for i in range(990)]
    low, high = visible_range(curve(values), np.array([]))
    assert low < 3.0
    assert 3.95 < high < 4.2
    beyond = above(curve(values), high)
    assert beyond.steps.tolist() == list(range(1, 11))
    assert beyond.values.max() == 11.0


def test_a_single_spike_leaves_the_frame_but_the_baseline_stays_in() -> None:
    values = [3.0] * 1000
    values[600] = 400.0
    assert visible_range(curve(values), np.array([]))[1] < 4.0
    assert visible_range(curve(values), np.array([7.5]))[1] > 7.5


def test_a_short_curve_is_shown_whole() -> None:
    low, high = visible_range(curve([9.0, 5.0, 4.0]), np.array([]))
    assert low < 4.0
    assert high > 9.0


@pytest.mark.parametrize("values", [[], [NAN, NAN], [2.0], [0.0, 0.0]])
def test_a_frame_is_never_empty(values: list[float]) -> None:
    for from_zero in (False, True):
        low, high = visible_range(curve(values), np.array([NAN]), from_zero=from_zero)
        assert math.isfinite(low)
        assert low < high
