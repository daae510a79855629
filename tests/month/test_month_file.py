"""month.yaml: what it keeps, and the one message that a wrong one gets."""

from datetime import date
from pathlib import Path

import pytest

from megatron_recipe.errors import ConfigError
from megatron_recipe.month.month_file import Month, changed, read_month, write_month

TODAY = date(2026, 11, 25)


def test_it_begins_today_with_thirty_days(tmp_path: Path) -> None:
    month = read_month(tmp_path, TODAY)
    assert (month.begins, month.days, month.day_of(date(2026, 11, 27))) == (TODAY, 30, 3)
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_read(tmp_path: Path) -> None:
    month = changed(read_month(tmp_path, TODAY), {"platform": "runpod", "big": "gpt_1b", "said": {"account": TODAY}})
    write_month(month, tmp_path)
    assert read_month(tmp_path, date(2027, 1, 1)) == month
    assert [path.name for path in tmp_path.iterdir()] == ["month.yaml"]


def test_a_new_beginning_moves_the_end() -> None:
    month = Month(begins=TODAY, ends=date(2026, 12, 24))
    moved = changed(month, {"begins": "2026-12-01"})
    assert (moved.begins, moved.days) == (date(2026, 12, 1), 30)


DATES = "begins: 2026-11-25\nends: 2026-12-24\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not valid YAML"),
        ("- a", "a mapping of fields is expected, not list"),
        ("", "a mapping of fields is expected, not NoneType"),
        ("ends: 2026-12-24\n", "begins is missing"),
        (DATES + "bugdet: 3\n", "bugdet is not known (did you mean 'budget'?); the month has: begins, ends"),
        (DATES + "platform: aws\n", "platform='aws'"),
        (DATES + "budget: -1\n", "budget=-1"),
        (DATES + "big: runs/x\n", "a run's name, without folders"),
        ("begins: soon\nends: 2026-12-24\n", "begins='soon'"),
        ("begins: 2026-11-25\nends: 2026-11-24\n", "ends=2026-11-24 is before begins=2026-11-25"),
        (DATES + "said: {account: 2026-11-01}\n", "said.account=2026-11-01 is before begins=2026-11-25"),
    ],
)
def test_a_wrong_file_gets_one_message(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "month.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        read_month(tmp_path, TODAY)
    assert message in str(error.value)
    assert "month.yaml" in str(error.value)
