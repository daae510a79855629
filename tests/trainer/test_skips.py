"""What a run leaves out: merged ranges, the user's own, and a file that outlives checkpoints."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_recipe.config import SampleRange
from megatron_recipe.errors import CheckpointError, ConfigError
from megatron_recipe.skips import SKIPS, Skips


def ranges_of(skips: Skips) -> list[tuple[int, int]]:
    return [(one.first, one.stop) for one in skips.ranges]


def with_skips(folder: Path, *ranges: tuple[int, int]) -> Skips:
    skips = Skips(folder)
    for first, stop in ranges:
        skips.add(first, stop)
    return skips


@pytest.mark.parametrize(
    ("added", "merged"),
    [
        ([], []),
        ([(5, 9)], [(5, 9)]),
        ([(20, 30), (5, 9)], [(5, 9), (20, 30)]),
        ([(5, 9), (8, 12)], [(5, 12)]),
        ([(5, 9), (9, 12)], [(5, 12)]),
        ([(5, 9), (10, 12)], [(5, 9), (10, 12)]),
        ([(5, 30), (8, 12)], [(5, 30)]),
        ([(5, 9), (5, 9)], [(5, 9)]),
        ([(8, 12), (5, 9), (11, 40), (50, 60)], [(5, 40), (50, 60)]),
    ],
)
def test_ranges_are_merged_in_order(tmp_path, added, merged):
    assert ranges_of(with_skips(tmp_path, *added)) == merged


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=8))
def test_merged_ranges_leave_out_the_same_positions(tmp_path_factory, stretches):
    added = [(first, first + length) for first, length in stretches]
    merged = ranges_of(with_skips(Path("nowhere"), *added))
    assert {p for first, stop in merged for p in range(first, stop)} == {
        p for first, stop in added for p in range(first, stop)
    }
    assert all(before[1] < after[0] for before, after in itertools.pairwise(merged))


def test_the_file_keeps_ranges_and_their_facts(tmp_path):
    skips = Skips(tmp_path)
    skips.add(100, 200, from_step=5, at_step=9, quantity="loss")
    skips.add(300, 301)
    assert not (tmp_path / SKIPS).exists()
    skips.write()
    again = Skips(tmp_path)
    assert again.entries == skips.entries
    assert again.entries[0] == {"first": 100, "stop": 200, "from_step": 5, "at_step": 9, "quantity": "loss"}
    assert ranges_of(again) == [(100, 200), (300, 301)]


def test_the_users_ranges_are_added_once(tmp_path):
    skips = with_skips(tmp_path, (100, 200))
    wanted = [SampleRange(first=100, stop=200), SampleRange(first=300, stop=400)]
    # the first was left out already, so that it may lie behind where the run stands
    assert skips.wanted(wanted, position=250) == [SampleRange(first=300, stop=400)]


def test_a_range_may_begin_where_the_run_stands(tmp_path):
    assert len(Skips(tmp_path).wanted([SampleRange(first=250, stop=260)], position=250)) == 1


def test_a_range_before_where_the_run_stands_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        Skips(tmp_path).wanted([SampleRange(first=249, stop=260)], position=250)
    for part in ("data.skip_samples=249:260", "position 250", "begin at 250 or later", "checkpoints"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"3",
        b'{"skips": 5}',
        b'{"skips": [7]}',
        b'{"skips": [{"first": 1}]}',
        b'{"skips": [{"first": 1, "stop": "many"}]}',
        b'{"skips": [{"first": 1, "stop": 2}',
        b'{"skops": []}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_file_is_an_error_that_says_how_to_mend_it(tmp_path, content):
    (tmp_path / SKIPS).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"skips\.json: damaged") as caught:
        Skips(tmp_path)
    remedy = '{"skips": []}'
    assert remedy in str(caught.value)
    (tmp_path / SKIPS).write_text(json.dumps(json.loads(remedy)), encoding="utf-8")
    assert Skips(tmp_path).ranges == []
