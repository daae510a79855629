"""Numbers, times and hostile text as they are shown."""

import math

import pytest

from megatron_recipe.report import formats


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1_392_768, "1.39M"),
        (284e6, "284M"),
        (999_600, "1.00M"),
        (1_039_000_000, "1.04B"),
        (26.2e9, "26.2B"),
        (None, "—"),
    ],
)
def test_short_counts(value: float | None, shown: str) -> None:
    assert formats.short(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(812, "812 B"), (12_345, "12.3 kB"), (297_583, "298 kB"), (14_513_535, "14.5 MB"), (3.2e12, "3.20 TB")],
)
def test_sizes(value: float, shown: str) -> None:
    assert formats.size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(4.7312, "4.731"), (-1.5, "−1.500"), (1234.5678, "1,234.568"), (math.nan, "NaN"), (-math.inf, "−∞"), (None, "—")],
)
def test_decimals(value: float | None, shown: str) -> None:
    assert formats.decimal(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(4.2, "4.20"), (113.43, "113.4"), (35_211.7, "35,212"), (math.inf, "∞")])
def test_perplexities(value: float, shown: str) -> None:
    assert formats.perplexity(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.1234, "12.3%"), (1, "100.0%"), (0, "0.0%"), (0.0004, "<0.1%"), (0.0006, "0.1%"), (None, "—")],
)
def test_percentages(share: float | None, shown: str) -> None:
    assert formats.percent(share) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.0131, "0.0131"), (2.3618, "2.36"), (1234.4, "1,234"), (20.0, "20")])
def test_ratios(value: float, shown: str) -> None:
    assert formats.ratio(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.9073e-05, "1.9×10⁻⁵"), (0.0, "0"), (3.2e-11, "3.2×10⁻¹¹"), (-0.02, "−2.0×10⁻²"), (12, "1.2×10¹")],
)
def test_scientific(value: float, shown: str) -> None:
    assert formats.scientific(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2026-11-24T14:12:05+08:00", "2026-11-24 06:12 UTC"),
        ("2026-11-24T06:12:05+0000", "2026-11-24 06:12 UTC"),
        ("2026-11-24T06:12:05", "2026-11-24 06:12"),
        ("yesterday", "yesterday"),
        (None, "—"),
    ],
)
def test_times(value: str | None, shown: str) -> None:
    assert formats.when(value) == shown


@pytest.mark.parametrize(
    ("seconds", "units"),
    [
        (0.04, [("0.0", "seconds")]),
        (59.4, [("59.4", "seconds")]),
        (432.2, [("7", "minutes"), ("12", "seconds")]),
        (7_500, [("2", "hours"), ("5", "minutes")]),
        (3 * 86_400 + 4 * 3600 + 59, [("3", "days"), ("4", "hours")]),
    ],
)
def test_durations(seconds: float, units: list[tuple[str, str]]) -> None:
    assert formats.seconds_in_units(seconds) == units


def test_times_of_a_gap_is_the_ratio_of_probabilities() -> None:
    assert formats.times(math.log(4.43)) == "4.43"
    assert formats.times(1e6)  # no overflow


def test_text_that_acts_is_shown_as_its_code() -> None:
    hostile = "a\x1b[31m\x00\x7f\u202eb\u200bc\ud800d\r\ne\tf"
    shown = formats.visible(hostile)
    assert shown == "a⟨U+001B⟩[31m⟨U+0000⟩⟨U+007F⟩⟨U+202E⟩b⟨U+200B⟩c⟨U+D800⟩d\ne\tf"
    shown.encode("utf-8")


def test_ordinary_text_of_any_script_is_left_alone() -> None:
    text = "naïve 中文，標點 हिन्दी क्‍ष 👩‍👧 \ufffd\n\tdone"
    assert formats.visible(text) == text


def test_long_text_is_cut_and_says_by_how_much() -> None:
    shown = formats.visible("字" * (formats.MAX_SHOWN_CHARACTERS + 1234))
    assert shown == "字" * formats.MAX_SHOWN_CHARACTERS + " … (+1,234)"
