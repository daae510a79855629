"""`sync` knows which run it copies, and where that run went back."""

import json
import shutil
from pathlib import Path

import pytest
from commands import NEEDS_RSYNC
from copied_run import add_checkpoint, content, make_run
from test_sync import place

from megatron_recipe.config import CheckpointConfig
from megatron_recipe.errors import ConfigError, DataError, MachineError
from megatron_recipe.sync_background import check_sync
from megatron_recipe.sync_branches import Branches, branches_of
from megatron_recipe.sync_pull import pull
from megatron_recipe.sync_push import push
from megatron_recipe.sync_store import call_long, open_store

__all__ = ["place"]  # the fixture
pytestmark = NEEDS_RSYNC


def note(run: Path, *events: dict[str, object]) -> None:
    with (run / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"time": "2026-12-01T10:00:00+0000", **event}) + "\n" for event in events)


def saved(*steps: int) -> list[dict[str, object]]:
    return [{"event": "checkpoint_saved", "step": step} for step in steps]


def test_a_run_that_went_back_takes_its_newer_checkpoints_back_there_too(place: str, tmp_path: Path) -> None:
    here, store = make_run(tmp_path / "runs" / "one", 30, 40), open_store(place)
    note(here, {"event": "start"}, *saved(30, 40))
    push(here, store)
    shutil.rmtree(here / "checkpoints")
    add_checkpoint(here, 25)
    note(here, *saved(25))
    assert push(here, store).checkpoint == "step_00000025"
    assert [path.name for path in (tmp_path / "there/one/checkpoints").iterdir()] == ["step_00000025"]
    assert pull(tmp_path / "back" / "one", store) == "step_00000025"


def test_a_folder_that_is_behind_the_copy_does_not_replace_it(place: str, tmp_path: Path) -> None:
    here, store = make_run(tmp_path / "runs" / "one", 40), open_store(place)
    note(here, {"event": "start"}, *saved(40))
    push(here, store)
    behind = make_run(tmp_path / "old" / "one", 20)
    note(behind, {"event": "start"}, *saved(20))
    before = content(tmp_path / "there")
    said = r"has step_00000040 of one, where .*old/one never was \(it is at step 20\): bring it back"
    with pytest.raises(DataError, match=said):
        push(behind, store)
    assert content(tmp_path / "there") == before


def test_another_run_of_the_same_name_is_refused_in_both_directions(place: str, tmp_path: Path) -> None:
    here, store = make_run(tmp_path / "runs" / "one", 10), open_store(place)
    note(here, {"event": "start"})
    push(here, store)
    other = make_run(tmp_path / "other" / "one", 5)
    note(other, {"event": "start", "time": "2026-12-02T10:00:00+0000"})
    before = content(tmp_path / "there"), content(other)
    for copy in (push, pull):
        with pytest.raises(DataError, match=r"has another run under the name one: it began 2026-12-01.*2026-12-02"):
            copy(other, store)
    assert (content(tmp_path / "there"), content(other)) == before


def test_a_damaged_checkpoint_here_is_no_reason_to_bring_nothing(place: str, tmp_path: Path) -> None:
    here, store = make_run(tmp_path / "runs" / "one", 10), open_store(place)
    push(here, store)
    (here / "checkpoints/step_00000010/__0_0.distcp").write_bytes(b"x" * 200_000)
    assert pull(here, store) == "step_00000010"
    assert push(here, store).checkpoint == "step_00000010"


def test_a_start_that_forgot_its_copy_is_refused(place: str, tmp_path: Path) -> None:
    here, config = make_run(tmp_path / "runs" / "one", 10), CheckpointConfig(sync_to=place)
    note(here, {"event": "start"})
    check_sync(config, here)  # nothing is there yet
    push(here, open_store(place))
    check_sync(config, here)
    with pytest.raises(ConfigError, match=r"has a run named one, and .* is new: bring that one back first .*--from"):
        check_sync(config, tmp_path / "anew" / "one")
    check_sync(config, tmp_path / "anew" / "two")


def test_the_copy_keeps_a_checkpoint_that_was_damaged_here(place: str, tmp_path: Path) -> None:
    here, store = make_run(tmp_path / "runs" / "one", 20, 30), open_store(place)
    note(here, {"event": "start"}, *saved(20, 30))
    push(here, store)
    (here / "checkpoints/step_00000030/common.pt").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match=r"has step_00000030 of one, which is not whole in .* any more .*sync --from"):
        push(here, store)
    assert pull(here, store) == "step_00000030"


def test_what_was_given_up_goes_only_when_the_new_one_is_there(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, store = make_run(tmp_path / "runs" / "one", 40), open_store(place)
    note(here, {"event": "start"}, *saved(40))
    push(here, store)
    shutil.rmtree(here / "checkpoints")
    add_checkpoint(here, 25)
    note(here, {"event": "rollback", "from_step": 40, "to_step": 20})
    assert pull(here, store) is None  # what the run gave up does not come back

    def cut(*arguments: object, **options: object) -> None:
        raise MachineError("cut")

    with monkeypatch.context() as patched, pytest.raises(MachineError, match="cut"):
        patched.setattr(store, "put", cut)
        push(here, store)
    assert (tmp_path / "there/one/checkpoints/step_00000040/checkpoint.json").exists()
    push(here, store)
    assert [path.name for path in (tmp_path / "there/one/checkpoints").iterdir()] == ["step_00000025"]


def test_records_are_not_replaced_by_those_of_what_was_given_up(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, store = make_run(tmp_path / "runs" / "one", 40), open_store(place)
    note(here, {"event": "start"}, *saved(40))
    push(here, store)
    shutil.rmtree(here / "checkpoints")
    note(here, {"event": "rollback", "from_step": 40, "to_step": 0})
    before = content(here)
    assert pull(here, store) is None
    assert content(here) == before
    assert "has given up what" in capsys.readouterr().err


def test_a_run_stands_on_what_it_saved_and_did_not_go_back_behind(tmp_path: Path) -> None:
    note(tmp_path, {"event": "start", "step": 0}, *saved(10, 20, 30), {"event": "rollback", "to_step": 20})
    assert branches_of(tmp_path) == Branches(frozenset({10, 20}), frozenset({30}))
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b"\0\0\0\n")
    note(tmp_path, {"event": "resume", "step": 15}, *saved(30))
    assert branches_of(tmp_path) == Branches(frozenset({10, 15, 30}), frozenset({20}))
    note(tmp_path, {"event": "start", "step": 0})
    assert branches_of(tmp_path) == Branches(frozenset(), frozenset({10, 15, 20, 30}))


def test_a_reason_that_stands_behind_the_progress_is_said() -> None:
    full = 'rsync: [receiver] write failed on "x": No space left on device (28)'
    said = f" 25,065   0%   23.89MB/s    0:00:00 (xfr#2, to-chk=24/32){full}\nrsync error: error in file IO (code 11)\n"
    with pytest.raises(MachineError, match=r"said: rsync: .*No space left on device"):
        call_long(["sh", "-c", f"printf %s '{said}'; exit 11"])
