"""Loss curves side by side: what is noise, and what lies within it."""

from argparse import Namespace

import pytest

from benchmarks.numerics import Curve, largest_distance, report


def test_a_setting_is_set_against_runs_that_compute_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    levels = {"plain": 1.0, "noise": 1.001, "again": 1.003, "fast": 1.0025, "wrong": 1.02}
    curves = [Curve(name, [4.0 * level] * 20) for name, level in levels.items()]
    options = Namespace(same=["again"], smooth=5, recipe="gpt_100m", steps=20, most=0.01)
    assert largest_distance(curves[1], curves[0], 5) == pytest.approx(0.001)
    assert report(curves[:4], options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split() == ["fast", "4.0100", "0.250%", "0.250%", "0.050%"]
    assert (
        lines[-1] == "recipe=gpt_100m steps=20 runs=plain,noise,again,fast noise=0.0030 largest=0.0025 nearest=0.0005"
    )
    assert report(curves, options) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("largest=0.0200 nearest=0.0169")
