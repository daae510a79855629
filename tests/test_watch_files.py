"""How `watch` follows a file that grows, and draws a curve of any length in a few characters."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from megatron_recipe.watch.curve import BRAILLE, MAX_BINS, Curve, Scale, draw
from megatron_recipe.watch.tail import Tail


def append(path: Path, *records: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def look(tail: Tail) -> tuple[bool, list[dict[str, Any]]]:
    anew, records = tail.look()
    return anew, list(records)


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    append(path, {"step": 1}, {"step": 2})
    tail = Tail(path)
    assert look(tail) == (False, [{"step": 1}, {"step": 2}])
    with path.open("r+b") as file:  # what was read may be lost: it is not looked at again
        file.write(b"x" * 10)
    append(path, {"step": 3})
    assert look(tail) == (False, [{"step": 3}])
    assert look(tail) == (False, [])


def test_a_line_that_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    tail = Tail(path)
    assert look(tail) == (False, [])
    path.write_text('{"step": 1}\n{"st')
    assert look(tail) == (False, [{"step": 1}])
    with path.open("a") as file:
        file.write('ep": 2}\nno json\n[1]\n{"step": 3}\n')
    assert look(tail) == (False, [{"step": 2}, {"step": 3}])


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    append(path, {"step": 1}, {"step": 2})
    tail = Tail(path)
    look(tail)
    new = tmp_path / "new"
    append(new, {"step": 1}, {"step": 7}, {"step": 8})
    new.replace(path)
    assert look(tail) == (True, [{"step": 1}, {"step": 7}, {"step": 8}])


# --- curves ---


def dots(row: str) -> list[int]:
    return [ord(character) - BRAILLE for character in row]


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right() -> None:
    curve = Curve()
    for step in range(8):
        curve.add(step, 7.5 - step)
    assert draw(curve, 4, Scale((0.0, 8.0), 2)) == ["⠑⢄⠀⠀", "⠀⠀⠑⢄"]


def test_a_spike_of_one_record_in_many_is_seen() -> None:
    curve = Curve()
    for step in range(100_000):
        curve.add(step, 9.0 if step == 70_123 else 1.0)
    assert len(curve.steps) < MAX_BINS
    top, *_, bottom = draw(curve, 40, Scale((0.0, 9.0), 3))
    assert [index for index, bits in enumerate(dots(top)) if bits] == [int(70_123 / 99_999 * 40)]
    assert all(dots(bottom))


def test_a_gap_is_empty_and_two_far_records_are_joined() -> None:
    curve = Curve()
    for step, value in ((0, 1.0), (40, 1.0), (45, math.nan), (60, 1.0), (100, 1.0)):
        curve.add(step, value)
    (row,) = draw(curve, 10, Scale((0.0, 2.0), 1))
    assert [bool(bits) for bits in dots(row)] == [True] * 5 + [False] + [True] * 4


def test_a_step_taken_again_voids_what_lies_behind_it() -> None:
    curve = Curve()
    for step in (1, 2, 3, 4):
        curve.add(step, 9.0)
    curve.add(3, 1.0)
    assert curve.steps == [1, 2, 3]
    assert curve.spans[-1] == (1.0, 1.0)


def test_the_scale_is_set_by_the_run_after_its_first_fall() -> None:
    curve = Curve()
    for step in range(100):
        curve.add(step, 11.0 if step < 5 else 3.0 - step / 100)
    assert curve.limits() == (2.01, pytest.approx(2.9))
    assert Curve().limits() is None


def test_a_logarithmic_scale() -> None:
    curve = Curve()
    for step, value in enumerate((1.0, 10.0, 100.0)):
        curve.add(step, value)
    rows = draw(curve, 3, Scale((1.0, 100.0), 3, logarithmic=True))
    assert [next(index for index, bits in enumerate(dots(row)) if bits) for row in rows] == [2, 1, 0]
