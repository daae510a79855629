"""Files named in spread.py are there, once; and those that share a run are in one group."""

import re
from collections import Counter
from pathlib import Path

import pytest
from spread import LONGEST_FIRST, PLACE_OF, Spread, place

TESTS = Path(__file__).parent
SHARED = {
    "": ("half_run", "resumed_run"),
    "trainer": ("two_process_run",),
    "checkpoints_tools": ("runs", "run_copy", "exports", "family_models"),
}
"""Fixtures of the session that train a run or write one, by the folder that they are for."""


def test_each_file_is_there_and_named_once():
    files = Counter(file for group in LONGEST_FIRST for file in group)
    assert set(files.values()) == {1}
    assert [file for file in files if not (TESTS / file).is_file()] == []


@pytest.mark.parametrize("folder", SHARED)
def test_files_that_share_a_run_are_in_a_named_group(folder):
    wanted = re.compile(rf"^(?:@.*\n)*def test_\w+\([^)]*\b({'|'.join(SHARED[folder])})\b", re.MULTILINE)
    users = [
        f"tests/{path.relative_to(TESTS)}"
        for path in (TESTS / folder).rglob("test_*.py")
        if wanted.search(path.read_text(encoding="utf-8"))
    ]
    assert len(users) >= 2
    assert [file for file in users if file not in PLACE_OF] == []


def test_a_group_is_given_as_a_whole_and_before_files_that_are_not_named(monkeypatch):
    monkeypatch.setattr(Spread, "__init__", lambda self: None)
    split = Spread()._split_scope
    first, second, other = (f"tests/{file}::test_it[a::b]" for file in (*LONGEST_FIRST[0][:2], "plan/test_x.py"))
    assert split(first) == split(second) != split(other) == "tests/plan/test_x.py"
    assert place(first) == 0 < place(other)
