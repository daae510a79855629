"""When a checkpoint is due, which are kept, and which one a run takes up."""

from datetime import datetime
from pathlib import Path

import pytest
from test_checkpoint_integrity import write_checkpoint

from megatron_recipe import checkpoint as checkpoint_module
from megatron_recipe import checkpoint_policy as module
from megatron_recipe.checkpoint import (
    complete_checkpoints,
    delete_checkpoint,
    delete_leftovers,
    newest_good,
    read_marker,
    step_folder,
    step_of,
)
from megatron_recipe.checkpoint_integrity import MARKER, damage, write_integrity, write_marker
from megatron_recipe.checkpoint_policy import CheckpointPolicy, prune
from megatron_recipe.config import CheckpointConfig
from megatron_recipe.errors import CheckpointError


def policy(**settings: object) -> CheckpointPolicy:
    return CheckpointPolicy(CheckpointConfig.model_validate(settings))


def due_steps(rules: CheckpointPolicy, last: int) -> dict[int, list[str]]:
    found = {step: rules.due(step, by_clock=False, improved=False) for step in range(1, last + 1)}
    return {step: kinds for step, kinds in found.items() if kinds}


def test_every_so_many_steps():
    assert due_steps(policy(save_every_steps=5), 12) == {5: ["regular"], 10: ["regular"]}


def test_no_steps_leaves_it_to_the_other_rules():
    rules = policy(save_every_steps=0)
    assert due_steps(rules, 1000) == {}
    assert rules.due(7, by_clock=True, improved=False) == ["regular"]


def test_a_milestone_takes_the_place_of_a_regular_one():
    assert due_steps(policy(save_every_steps=5, milestone_every_steps=10), 10) == {5: ["regular"], 10: ["milestone"]}
    assert policy(milestone_every_steps=10).due(10, by_clock=True, improved=True) == ["milestone"]


def test_a_milestone_of_weights_comes_besides():
    rules = policy(save_every_steps=5, milestone_every_steps=4, milestone_weights_only=True)
    assert due_steps(rules, 20) == {
        4: ["weights"], 5: ["regular"], 8: ["weights"], 10: ["regular"], 12: ["weights"], 15: ["regular"],
        16: ["weights"], 20: ["regular", "weights"],
    }  # fmt: skip
    assert rules.due(4, by_clock=False, improved=True) == ["best", "weights"]


def test_the_best_one_is_saved_unless_that_is_off():
    assert policy().due(7, by_clock=False, improved=True) == ["best"]
    assert policy(keep_best=False).due(7, by_clock=False, improved=True) == []
    assert policy(keep_best=False, save_every_steps=7).due(7, by_clock=False, improved=True) == ["regular"]


class Clock:
    """Time of the day and monotonic time, both told by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.monotonic = datetime(2026, 11, 24, 12), 100.0
        clock = self

        class Now(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:
                return clock.at

        monkeypatch.setattr(module, "datetime", Now)
        monkeypatch.setattr(module.time, "monotonic", lambda: clock.monotonic)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def policy_at(clock: Clock, at: datetime, **settings: object) -> CheckpointPolicy:
    clock.at = at
    return CheckpointPolicy(CheckpointConfig.model_validate(settings), clock.monotonic, at)


def test_minutes_are_counted_from_the_last_save(clock):
    rules = policy_at(clock, clock.at, save_every_minutes=1.5)
    for seconds, is_due in ((0, False), (89, False), (90, True), (200, True)):
        clock.monotonic = 100.0 + seconds
        assert rules.clock_is_due() is is_due
    rules.note_save()
    assert not rules.clock_is_due()
    clock.monotonic += 90
    assert rules.clock_is_due()


def test_no_minutes_and_no_hour_is_never(clock):
    rules = policy_at(clock, clock.at)
    clock.monotonic, clock.at = 1e9, datetime(2030, 1, 1)
    assert not rules.clock_is_due()


@pytest.mark.parametrize(
    ("hour", "saved", "now", "is_due"),
    [
        (9, "24 08:00", "24 08:59", False),
        (9, "24 08:00", "24 09:00", True),
        (9, "24 08:00", "24 15:00", True),  # a step or a pause that lasts is no reason to miss it
        (9, "24 09:30", "24 23:59", False),
        (9, "24 09:30", "25 08:59", False),
        (9, "24 09:30", "25 09:00", True),
        (0, "24 23:50", "24 23:59", False),
        (0, "24 23:50", "25 00:00", True),
        (0, "24 00:10", "24 12:00", False),
        (23, "24 22:30", "24 22:59", False),
        (23, "24 22:30", "25 00:10", True),  # over midnight
        (23, "24 23:10", "25 00:10", False),
        (23, "24 23:10", "25 22:59", False),
        (9, "24 08:00", "27 08:00", True),
    ],
)
def test_an_hour_of_the_day_comes_once(clock, hour, saved, now, is_due):
    rules = policy_at(clock, datetime.strptime(f"2026-11-{saved}", "%Y-%m-%d %H:%M"), save_at_hour=hour)
    clock.at = datetime.strptime(f"2026-11-{now}", "%Y-%m-%d %H:%M")
    assert rules.clock_is_due() is is_due
    rules.note_save()
    assert not rules.clock_is_due()


def marked(checkpoints: Path, step: int, kind: str = "regular", loss: float | None = None) -> Path:
    """A complete checkpoint of no tensors."""
    folder = step_folder(checkpoints, step)
    folder.mkdir(parents=True)
    write_integrity(folder)
    write_marker(folder, {"step": step, "kind": kind, **({} if loss is None else {"validation_loss": loss})})
    return folder


def steps_left(checkpoints: Path) -> list[int]:
    return [step_of(folder) for folder in complete_checkpoints(checkpoints)]


def keep(last: int, **settings: object) -> CheckpointConfig:
    return CheckpointConfig.model_validate({"keep_last": last, **settings})


def test_the_newest_are_kept(tmp_path):
    for step in (5, 10, 100, 20):
        marked(tmp_path, step)
    assert [step_of(folder) for folder in prune(tmp_path, keep(2))] == [5, 10]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000020", "step_00000100"]
    assert prune(tmp_path, keep(2)) == []


def test_the_best_and_milestones_are_kept_besides(tmp_path):
    marked(tmp_path, 5, loss=3.0)
    marked(tmp_path, 10, loss=2.0)
    marked(tmp_path, 15, "milestone", loss=2.5)
    for step in (20, 25, 30):
        marked(tmp_path, step, loss=2.1)
    prune(tmp_path, keep(2))
    assert steps_left(tmp_path) == [10, 15, 25, 30]


def test_the_best_is_not_kept_where_that_is_off(tmp_path):
    for step, loss in ((5, 1.0), (10, 2.0), (15, 3.0)):
        marked(tmp_path, step, loss=loss)
    prune(tmp_path, keep(1, keep_best=False))
    assert steps_left(tmp_path) == [15]


@pytest.mark.parametrize("not_a_loss", [float("nan"), float("-inf")])
def test_a_loss_that_is_not_a_number_is_never_the_best(tmp_path, not_a_loss):
    for step, loss in ((5, not_a_loss), (10, 2.0), (15, not_a_loss), (20, 3.0)):
        marked(tmp_path, step, loss=loss)
    prune(tmp_path, keep(1))
    assert steps_left(tmp_path) == [10, 20]


@pytest.mark.parametrize("content", ["", "{", "[]", "7"])
def test_a_marker_that_cannot_be_read_is_left_for_a_person(tmp_path, content):
    for step in (5, 10, 15, 20):
        marked(tmp_path, step)
    (step_folder(tmp_path, 5) / MARKER).write_text(content, encoding="utf-8")
    (step_folder(tmp_path, 20) / MARKER).write_text(content, encoding="utf-8")
    prune(tmp_path, keep(1))
    # the newest that can be read is kept: the unreadable one after it does not take its place
    assert steps_left(tmp_path) == [5, 15, 20]
    with pytest.raises(CheckpointError, match="take an older checkpoint"):
        read_marker(step_folder(tmp_path, 5))


def test_weights_and_folders_of_other_names_are_left_alone(tmp_path):
    marked(tmp_path, 5)
    marked(tmp_path, 10)
    weights, copy = tmp_path / "weights_00000001", tmp_path / "step_00000001 copy"
    for folder in (weights, copy):
        folder.mkdir()
        (folder / MARKER).write_text("{}", encoding="utf-8")
    assert steps_left(tmp_path) == [5, 10]
    prune(tmp_path, keep(1))
    assert steps_left(tmp_path) == [10]
    assert weights.is_dir() and copy.is_dir()


def test_a_folder_without_a_marker_is_no_checkpoint(tmp_path):
    folder = marked(tmp_path, 5)
    (folder / MARKER).unlink()
    assert complete_checkpoints(tmp_path) == complete_checkpoints(tmp_path / "nowhere") == []
    with pytest.raises(CheckpointError, match=r"not a complete checkpoint .*checkpoints lie in"):
        read_marker(folder)


def test_the_marker_goes_first_when_a_checkpoint_is_deleted(tmp_path, monkeypatch):
    folder = marked(tmp_path, 5)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_module.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        delete_checkpoint(folder)
    assert folder.is_dir() and complete_checkpoints(tmp_path) == []


def test_leftovers_of_killed_saves_are_deleted_and_nothing_else(tmp_path):
    folder = marked(tmp_path, 5)
    for name in (".step_00000010.123-456.partial", ".weights_00000010.123-789.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__0_0.distcp").write_bytes(b"half")
    (tmp_path / "latest").write_text("step_00000005\n", encoding="utf-8")
    (tmp_path / "mine.partial").mkdir()
    delete_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "mine.partial", folder.name]
    delete_leftovers(tmp_path / "nowhere")


class Ranks:
    """Stands for `parallel.Ranks`: of one process, or of one that is not the first."""

    def __init__(self, is_first: bool = True) -> None:
        self.is_first = is_first


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints of steps 5, 10 and 15."""
    monkeypatch.setattr(checkpoint_module, "first_ranks", lambda value: value)
    monkeypatch.setattr(checkpoint_module, "damage_to_any", damage)
    for step in (5, 10, 15):
        write_checkpoint(step_folder(tmp_path, step))
    return tmp_path


def newest(checkpoints: Path, before_step: int | None = None) -> tuple[int | None, list[str]]:
    found, problems = newest_good(checkpoints, Ranks(), before_step)  # type: ignore[arg-type]
    return (step_of(found) if found else None), problems


def damage_data(checkpoints: Path, step: int) -> None:
    (step_folder(checkpoints, step) / "common.pt").write_bytes(b"damaged")


def test_the_newest_whole_one_is_taken(three):
    assert newest(three) == (15, [])
    damage_data(three, 5)  # an older one is not even read
    assert newest(three) == (15, [])


def test_damaged_ones_are_passed_over_and_named(three):
    damage_data(three, 15)
    assert newest(three) == (10, ["step_00000015: common.pt differs from its checksum"])
    (step_folder(three, 10) / "common.pt").unlink()
    assert newest(three) == (
        5,
        ["step_00000015: common.pt differs from its checksum", "step_00000010: common.pt is missing"],
    )
    (step_folder(three, 5) / MARKER).write_text("{", encoding="utf-8")
    found, problems = newest(three)
    assert found is None and len(problems) == 3 and problems[2].startswith("step_00000005: ")


def test_one_that_was_never_completed_is_no_problem(three):
    (step_folder(three, 15) / MARKER).unlink()
    assert newest(three) == (10, [])


@pytest.mark.parametrize(("before_step", "step"), [(16, 15), (15, 10), (11, 10), (6, 5), (5, None), (0, None)])
def test_only_those_before_a_step(three, before_step, step):
    assert newest(three, before_step) == (step, [])


def test_damage_behind_the_step_is_not_looked_for(three):
    damage_data(three, 15)
    assert newest(three, before_step=12) == (10, [])


def test_a_copy_under_a_name_of_its_own_is_not_taken(three):
    write_checkpoint(three / "step_00000020 copy")
    assert newest(three) == (15, [])
    assert newest(three, before_step=15) == (10, [])


def test_the_other_ranks_look_where_the_first_one_says(three, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "first_ranks", lambda value: [step_folder(three, step) for step in (10, 5)])
    found, problems = newest_good(three, Ranks(is_first=False))  # type: ignore[arg-type]
    assert (found, problems) == (step_folder(three, 10), [])


def test_no_folder_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "first_ranks", lambda value: value)
    assert newest(tmp_path / "checkpoints") == (None, [])
