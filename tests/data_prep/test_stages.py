"""A stage is done or not done; a changed setting redoes it and what follows."""

import json
from dataclasses import replace

import pytest

from data_prep.recipe import StageResult
from data_prep.stages import Stage, completed, require, run_stage, sole_user
from megatron_recipe.errors import DataError, MachineError

RESULT = StageResult("one", 3, 2, {"short": 1}, 10, 0.0, "kept 2")


@pytest.fixture
def stage(tmp_path):
    return Stage("one", tmp_path / "1_one", {"a": 1})


def build(folder):
    (folder / "output").write_text("whole")
    return RESULT


def test_a_stage_runs_once(stage):
    first = run_stage(stage, build)
    assert not first.cached
    second = run_stage(stage, lambda folder: pytest.fail("must not run again"))
    assert second.cached
    assert replace(second, cached=False, seconds=0.0) == RESULT


def test_a_changed_setting_redoes_the_stage_and_those_after_it(stage, tmp_path):
    following = Stage("two", tmp_path / "2_two", {}, stage)
    run_stage(stage, build)
    run_stage(following, build)
    changed = replace(stage, settings={"a": 2})
    assert completed(changed) is None
    assert completed(replace(following, previous=changed)) is None
    with pytest.raises(DataError, match="'one' has not run with these settings"):
        run_stage(replace(following, previous=changed), build)


def test_a_stage_that_failed_goes_on_in_its_partial_folder(stage):
    def fails(folder):
        (folder / "half").write_text("kept")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(stage, fails)
    assert not stage.folder.exists()
    assert completed(stage) is None

    def continues(folder):
        assert (folder / "half").read_text() == "kept"
        return RESULT

    run_stage(stage, continues)


def test_a_partial_folder_of_other_settings_is_not_used(stage):
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage, lambda folder: (_ for _ in ()).throw(KeyboardInterrupt))
    (stage.folder.parent / ".1_one.partial" / "half").write_text("old")

    def starts_afresh(folder):
        assert not (folder / "half").exists()
        return RESULT

    run_stage(replace(stage, settings={"a": 2}), starts_afresh)


def test_documents_that_are_lost_are_a_bug(stage):
    with pytest.raises(RuntimeError, match="read 4 documents, kept 2 and dropped 1"):
        run_stage(stage, lambda folder: replace(RESULT, documents_in=4))
    assert completed(stage) is None


def test_a_full_disk_is_one_message(stage):
    def fills(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(MachineError, match="disk is full"):
        run_stage(stage, fills)


def test_a_damaged_marker_is_not_believed(stage):
    run_stage(stage, build)
    (stage.folder / "stage.json").write_text(json.dumps({"fingerprint": stage.fingerprint})[:-4])
    assert completed(stage) is None
    with pytest.raises(DataError):
        require(stage)


def test_a_work_folder_has_one_user(tmp_path):
    with sole_user(tmp_path), pytest.raises(DataError, match="is using this work folder"), sole_user(tmp_path):
        pass
    with sole_user(tmp_path):
        pass


def test_what_only_the_stage_needs_is_removed_when_it_is_whole(stage):
    def uses_scratch(folder):
        (folder / "scratch").mkdir()
        return RESULT

    run_stage(stage, uses_scratch)
    assert not (stage.folder / "scratch").exists()
