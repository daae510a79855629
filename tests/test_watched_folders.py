"""Which folders `watch` takes for a run."""

from pathlib import Path

import pytest

from megatron_recipe import watch
from megatron_recipe.errors import DataError


@pytest.mark.parametrize("names", [["manifest.json"], ["comparison.json", ".lock"]])
def test_a_folder_of_something_else_is_no_run(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"is no run: it has no config\.yaml; name a folder made by"):
        watch.watch_command(tmp_path, True, "en", 2.0)


@pytest.mark.parametrize("name", [None, ".lock", "config.yaml", "metrics.jsonl", "events.jsonl"])
def test_a_run_that_has_just_begun_is_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str | None
) -> None:
    if name:
        (tmp_path / name).touch()
        (tmp_path / "data_cache").mkdir()
    watch.watch_command(tmp_path, True, "en", 2.0)
    assert capsys.readouterr().out
