"""What is seen to be wrong before hours of reading, and what a folder of text leaves unread."""

import math
from pathlib import Path

import pytest

from data_prep.blend_command import blend_command
from data_prep.checks import check_recipe
from data_prep.recipe import DataRecipe, Source, load_recipe
from data_prep.sources.local import find_files, not_read
from megatron_recipe import files
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.files import atomic_folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "some words"}\n', encoding="utf-8")
    return folder


def recipe(corpus: Path, out: Path, **values: object) -> DataRecipe:
    return load_recipe("documents", {"sources": [{"path": corpus}], "out": out, **values})


@pytest.mark.parametrize(("out", "option"), [("corpus/datasets/main", "--out"), ("corpus", "--out")])
def test_a_dataset_inside_its_source_would_be_read_with_it(corpus, tmp_path, out, option):
    with pytest.raises(ConfigError, match=rf"{option} .* lies in the source .*; choose a folder outside"):
        check_recipe(recipe(corpus, tmp_path / out, work=tmp_path / "work"))
    with pytest.raises(ConfigError, match=r"--work .* lies in the source"):
        check_recipe(recipe(corpus, tmp_path / "out", work=corpus / "work"))
    check_recipe(recipe(corpus, tmp_path / "out", work=tmp_path / "work"))


def test_out_and_work_are_two_places(corpus, tmp_path):
    with pytest.raises(ConfigError, match="one lies in the other"):
        check_recipe(recipe(corpus, tmp_path / "out", work=tmp_path / "out"))


def test_a_wrong_tokenizer_or_place_is_said_at_once(corpus, tmp_path):
    with pytest.raises(DataError):
        check_recipe(recipe(corpus, tmp_path / "out", **{"tokenizer.file": corpus / "a.jsonl"}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is not a dataset"):
        check_recipe(recipe(corpus, tmp_path / "mine"))


def test_what_is_left_unread_is_counted_and_links_are_followed(corpus, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.jsonl").write_text('{"text": "more words"}\n', encoding="utf-8")
    (corpus / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(corpus)  # in a circle
    (corpus / "lost.jsonl").symlink_to(tmp_path / "nowhere")
    for name in ("c.csv", "d.csv", "e.bz2"):
        (corpus / name).write_text("x")
    sources = [Source(path=corpus)]
    assert sorted(file.path.name for file in find_files(sources)) == ["a.jsonl", "b.jsonl"]
    said = not_read(sources)
    assert "2 *.csv" in said and "1 *.bz2" in said and "lost.jsonl (a link to nothing)" in said


def test_a_folder_is_replaced_by_renaming(tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "old").write_text("old")
    with atomic_folder(folder) as partial:
        (partial / "new").write_text("new")
        assert (folder / "old").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
    assert [path.name for path in folder.iterdir()] == ["new"]


@pytest.mark.parametrize("killed", [False, True])
def test_the_old_folder_is_not_lost_between_two_renames(tmp_path, monkeypatch, killed):
    folder, rename = tmp_path / "dataset", Path.rename
    folder.mkdir()
    (folder / "old").write_text("old")

    def interrupted(path: Path, target: Path) -> Path:
        if "partial" in path.name:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as changed:
        changed.setattr(Path, "rename", interrupted)
        if killed:  # then nobody brings it back at once
            changed.setattr(files, "_bring_back", lambda path: None)
        with pytest.raises(KeyboardInterrupt), atomic_folder(folder) as partial:
            (partial / "new").write_text("new")
    assert folder.exists() is not killed
    with pytest.raises(ValueError, match="again"), atomic_folder(folder):
        raise ValueError("again")
    assert (folder / "old").read_text() == "old"


@pytest.mark.parametrize("tokens", [0.0, math.nan, math.inf])
def test_a_mix_has_a_length(tokens):
    with pytest.raises(ConfigError, match="--total-tokens"):
        blend_command([], [], 1.0, tokens, None)


def test_a_share_stands_once_and_is_a_number():
    with pytest.raises(ConfigError, match=r"--weight en=… stands 2 times"):
        blend_command([], ["en=0.3", "en=0.4"], 1.0, None, None)
