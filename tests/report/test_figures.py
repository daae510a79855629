"""Drawings read back from their SVG: points where the data is, text as text, colours of the page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from megatron_recipe.report.figures import (
    BOTTOM,
    CSS_COLOURS,
    LEFT,
    NARROW,
    RIGHT,
    TOP,
    WIDE,
    Drawing,
    Marks,
    TickLabels,
    draw,
)
from megatron_recipe.report.series import Series

SVG = "{http://www.w3.org/2000/svg}"
STEPS = np.arange(1.0, 301.0)
LOSS = 5.0 + 3.0 * np.exp(-STEPS / 40.0)
VALIDATION = Series(np.array([100.0, 200.0, 300.0]), np.array([5.4, 5.2, 5.1]))


def drawing(values: np.ndarray = LOSS, limits: tuple[float, float] = (4.5, 8.5)) -> Drawing:
    return Drawing("loss", Series(STEPS, values), limits, points=VALIDATION, level=6.5)


def group(svg: str, name: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    return next(g for g in root.iter(f"{SVG}g") if g.get("id", "").endswith(f"-{name}"))


def pixels_to_data(x: float, y: float, limits: tuple[float, float]) -> tuple[float, float]:
    """The place in step and loss of a pixel, from the margins alone."""
    last = 300 + 0.01 * 300
    step = (x - LEFT) / (WIDE.width - LEFT - RIGHT) * last
    height = WIDE.height - TOP - BOTTOM
    return step, limits[0] + (WIDE.height - BOTTOM - y) / height * (limits[1] - limits[0])


def test_validation_points_are_where_they_belong() -> None:
    svg = draw(drawing(), Marks(), WIDE)
    marks = group(svg, "points").findall(f".//{SVG}use")
    places = [pixels_to_data(float(m.get("x", "nan")), float(m.get("y", "nan")), (4.5, 8.5)) for m in marks]
    assert places == [pytest.approx(pair, rel=1e-4) for pair in zip(VALIDATION.steps, VALIDATION.values, strict=True)]


def test_the_training_curve_goes_through_the_data() -> None:
    path = group(draw(drawing(), Marks(), WIDE), "raw").find(f"{SVG}path")
    assert path is not None
    pairs = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d", ""))
    places = [pixels_to_data(float(x), float(y), (4.5, 8.5)) for x, y in pairs]
    assert len(places) > 20  # matplotlib leaves out points on a straight line
    for step, loss in places:
        assert loss == pytest.approx(np.interp(step, STEPS, LOSS), abs=0.02)


def test_a_gap_breaks_the_line() -> None:
    values = LOSS.copy()
    values[150:160] = np.nan
    whole = group(draw(drawing(), Marks(), WIDE), "raw").find(f"{SVG}path")
    broken = group(draw(drawing(values), Marks(), WIDE), "raw").find(f"{SVG}path")
    assert whole is not None
    assert broken is not None
    assert whole.get("d", "").count("M ") == 1
    assert broken.get("d", "").count("M ") == 2


def test_a_point_between_two_gaps_is_seen() -> None:
    values = np.full(300, np.nan)
    values[120] = 5.0
    svg = draw(Drawing("lone", Series(STEPS, values), (4.0, 6.0)), Marks(), WIDE)
    assert len(re.findall(r"<use [^>]*fill: var\(--train\)", svg)) == 1


def test_nothing_measured_is_an_empty_frame() -> None:
    svg = draw(Drawing("empty", Series(STEPS, np.full(300, np.nan)), (0.0, 1.0)), Marks(), NARROW)
    assert ElementTree.fromstring(svg).tag == f"{SVG}svg"
    line = group(svg, "raw").find(f"{SVG}path")
    assert line is not None
    assert "L" not in line.get("d", "")  # it moves nowhere


def test_no_steps_at_all() -> None:
    nothing = Series(np.array([]), np.array([]))
    svg = draw(Drawing("none", nothing, (0.0, 1.0), points=VALIDATION), Marks(), NARROW)
    assert ElementTree.fromstring(svg).tag == f"{SVG}svg"


def test_events_are_marked_at_their_steps() -> None:
    svg = draw(drawing(), Marks(checkpoints=[100, 200], resumes=[150], rollbacks=[250]), WIDE)
    assert len(group(svg, "checkpoints").findall(f".//{SVG}use")) == 2
    for name, expected in (("resume0", 150), ("rollback0", 250)):
        path = group(svg, name).find(f"{SVG}path")
        assert path is not None
        x = float(path.get("d", "").split()[1])
        assert pixels_to_data(x, 0, (4.5, 8.5))[0] == pytest.approx(expected, rel=1e-3)


def test_text_stays_text_in_the_font_of_the_page() -> None:
    svg = draw(drawing(), Marks(), WIDE)
    labels = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"0", "100", "200", "300", "5", "6", "7", "8"} <= set(labels)
    assert "font-family" not in svg
    assert "DejaVu" not in svg


def test_colours_are_the_pages() -> None:
    svg = draw(drawing(), Marks([1], [2], [3]), WIDE)
    assert not re.search(r"#[0-9a-f]{6}\b", svg)
    assert set(re.findall(r"var\(--[a-z-]+\)", svg)) <= set(CSS_COLOURS.values())


def test_drawings_share_no_ids_and_no_style_rules() -> None:
    ids = [set(re.findall(r' id="([^"]*)"', draw(drawing(), Marks(), size))) for size in (WIDE, NARROW)]
    assert not ids[0] & ids[1]
    svg = draw(drawing(), Marks(), WIDE)
    assert "<style" not in svg
    assert set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', svg))
    for clip, use in re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', svg):
        assert f' id="{clip or use}"' in svg


def test_the_same_run_gives_the_same_drawing() -> None:
    assert draw(drawing(), Marks(), WIDE) == draw(drawing(), Marks(), WIDE)


def test_small_values_are_labelled_in_their_unit() -> None:
    rate = Series(STEPS, np.linspace(0, 3e-4, 300))
    svg = draw(Drawing("rate", rate, (0.0, 3.2e-4), smoothed=False, unit=1e-4), Marks(), WIDE)
    labels = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"1", "2", "3"} <= set(labels)


def test_ticks_of_an_axis_have_the_same_decimals() -> None:
    assert TickLabels(1.0).format_ticks([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert TickLabels(1.0).format_ticks([-5000.0, 0.0, 5000.0]) == ["−5,000", "0", "5,000"]
    assert TickLabels(1e-4)(3e-4) == "3"
