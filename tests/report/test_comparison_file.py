"""Reading comparison.json: what is damaged is named, and what is null stays unknown."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_comparison import comparison, write_comparison

from megatron_recipe.errors import DataError
from megatron_recipe.report.comparison_file import read_comparison


def damaged(folder: Path, text: str) -> str:
    (folder / "comparison.json").write_text(text)
    with pytest.raises(DataError) as error:
        read_comparison(folder)
    return str(error.value)


def test_a_folder_without_the_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no comparison.*lab compare"):
        read_comparison(tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    assert "no valid JSON" in damaged(tmp_path, '{"format": 1,')
    assert "format=7 must be 1" in damaged(tmp_path, '{"format": 7}')
    assert "it lacks 'name'" in damaged(tmp_path, '{"format": 1}')
    content: dict[str, Any] = comparison()
    del content["settings"][1]["runs"][0]["state"]
    assert "it lacks 'state'" in damaged(tmp_path, json.dumps(content))
    assert "is damaged" in damaged(tmp_path, json.dumps({**comparison(), "settings": [3]}))


def test_what_is_null_or_no_number_is_left_out(tmp_path: Path) -> None:
    content = comparison()
    content["settings"][0]["summary"]["validation_loss"] = None
    content["settings"][0]["summary"]["train_loss"]["mean"] = None
    content["pairs"][0].update(low=None, high=None)
    content["pairs"][1]["difference"] = None
    read = read_comparison(write_comparison(tmp_path, content))
    assert "mfu_full" not in read.settings[0].summary
    assert {"validation_loss", "train_loss"} & set(read.settings[0].summary) == set()
    assert read.pairs[0].low is None
    assert [(pair.a, pair.b) for pair in read.pairs if pair.measure == "validation_loss"] == [
        ("1e-4", "3e-4"), ("3e-4", "5e-4")
    ]  # fmt: skip


def test_titles_in_the_language_or_else_english_or_else_the_name(tmp_path: Path) -> None:
    read = read_comparison(write_comparison(tmp_path))
    assert (read.title("zh"), read.title("en")) == ("学习率", "Learning rate")
    read.facts["title"] = {"en": "Only English", "zh": ""}
    assert read.title("zh") == "Only English"
    read.facts["title"] = None
    assert read.title("zh") == "learning_rate"
