"""The queue of runs: order, slots, what stays and what goes on, and what becomes of those that fail or are stopped."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from megatron_recipe.config import Config
from megatron_recipe.lab.run_states import KILLED, Outcome, note_end, note_start, outcome_of
from megatron_recipe.lab.runner import run_all
from megatron_recipe.lab.starters import LOG
from megatron_recipe.loggers.records import append_record
from megatron_recipe.recipes import load_config


@dataclass(frozen=True)
class Run:
    """Something to run."""

    folder: Path
    config: Config


def runs_in(folder: Path, *names: str) -> list[Run]:
    config = load_config("gpt_tiny_cpu")
    return [Run(folder / name, config) for name in names]


def event(folder: Path, name: str, **facts: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    append_record(folder / "events.jsonl", {"event": name, **facts})


@dataclass
class Trainer:
    """Stands in for the starter: a process ends after so many looks, as it is told by its folder's name."""

    codes: dict[str, int] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    looks: int = 2
    started: list[tuple[str, int]] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    most_alive: int = 0
    signals: list[tuple[str, int]] = field(default_factory=list)
    on_start: Callable[[str], None] = lambda name: None

    def __call__(self, config: Config, folder: Path, slot: int) -> "Process":
        self.started.append((folder.name, slot))
        self.alive.add(folder.name)
        self.most_alive = max(self.most_alive, len(self.alive))
        event(folder, "start")
        self.on_start(folder.name)
        return Process(self, folder, self.looks)


@dataclass
class Process:
    """A process that is none."""

    trainer: Trainer
    folder: Path
    left: int

    def poll(self) -> int | None:
        self.left -= 1
        if self.left > 0:
            return None
        name = self.folder.name
        self.trainer.alive.discard(name)
        code = self.trainer.codes.get(name, 0)
        if code == 0:
            event(self.folder, "end")
        (self.folder / LOG).write_text(self.trainer.words.get(name, ""), encoding="utf-8")
        return code

    def send_signal(self, sig: int) -> None:
        self.trainer.signals.append((self.folder.name, sig))
        event(self.folder, "stopped", reason=signal.Signals(sig).name)
        self.trainer.codes[self.folder.name] = 1 if sig == signal.SIGTERM else -sig
        self.left = 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megatron_recipe.lab.runner.POLL_SECONDS", 0.001)


def nothing(run: Run, outcome: Outcome, seconds: float) -> None:
    pass


def test_a_queue_keeps_its_order_and_never_shares_a_slot(tmp_path: Path) -> None:
    trainer = Trainer()
    ended: list[str] = []
    runs = runs_in(tmp_path, "a", "b", "c", "d", "e")
    assert run_all(runs, trainer, 2, lambda run, outcome, seconds: ended.append(run.folder.name)) is None
    assert [name for name, _ in trainer.started] == ["a", "b", "c", "d", "e"]
    assert trainer.most_alive == 2
    assert {slot for _, slot in trainer.started} == {0, 1}
    assert sorted(ended) == ["a", "b", "c", "d", "e"]
    assert {outcome_of(run.folder).state for run in runs} == {"finished"}


def test_finished_runs_are_not_begun_again(tmp_path: Path) -> None:
    event(tmp_path / "a", "start")
    event(tmp_path / "a", "end")
    event(tmp_path / "b", "start")  # and killed
    trainer = Trainer()
    run_all(runs_in(tmp_path, "a", "b", "c"), trainer, 1, nothing)
    assert [name for name, _ in trainer.started] == ["b", "c"]


def test_a_failed_run_is_written_down_and_the_others_go_on(tmp_path: Path) -> None:
    trainer = Trainer(
        codes={"a": 2, "b": 1, "c": -9},
        words={"a": "step 3\nerror: the disk is full\n", "b": "Traceback\n  File x\nValueError: no such thing\n"},
    )
    runs = runs_in(tmp_path, "a", "b", "c", "d")
    said: dict[str, Outcome] = {}
    assert run_all(runs, trainer, 1, lambda run, outcome, seconds: said.update({run.folder.name: outcome})) is None
    assert said["a"] == Outcome("failed", "the disk is full")
    assert said["b"] == Outcome("failed", "ValueError: no such thing")
    assert said["c"].state == "failed" and "signal 9" in str(said["c"].reason)
    assert said["d"] == Outcome("finished")
    assert {run.folder.name: outcome_of(run.folder) for run in runs} == said  # also for who looks later
    again = Trainer()
    run_all(runs, again, 4, nothing)
    assert [name for name, _ in again.started] == ["a", "b", "c"]
    assert {outcome_of(run.folder).state for run in runs} == {"finished"}


@pytest.mark.parametrize(("number", "at", "running"), [(signal.SIGINT, "b", ["a", "b"]), (signal.SIGTERM, "a", ["a"])])
def test_a_request_to_stop_reaches_those_that_run_and_no_other_is_begun(
    tmp_path: Path, number: int, at: str, running: list[str]
) -> None:
    trainer = Trainer(looks=1000, on_start=lambda name: os.kill(os.getpid(), number) if name == at else None)
    runs, before = runs_in(tmp_path, "a", "b", "c"), signal.getsignal(signal.SIGINT)
    assert run_all(runs, trainer, 2, nothing) == number
    assert trainer.signals == [(name, signal.SIGTERM) for name in running]
    states = {run.folder.name: outcome_of(run.folder).state for run in runs}
    assert states == {name: "stopped" if name in running else "not run" for name in "abc"}
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_waits_for_no_save(tmp_path: Path) -> None:
    trainer = Trainer(looks=1000)
    looked = []

    def look(running: object) -> None:
        looked.append(running)
        if len(looked) in (1, 2):
            os.kill(os.getpid(), signal.SIGINT)

    def stubborn(process: Process, sig: int) -> None:
        trainer.signals.append((process.folder.name, sig))
        process.left = 1 if sig == signal.SIGKILL else process.left

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Process, "send_signal", stubborn)
        assert run_all(runs_in(tmp_path, "a"), trainer, 1, nothing, look) == signal.SIGINT
    assert trainer.signals == [("a", signal.SIGTERM), ("a", signal.SIGKILL)]


def test_the_state_of_a_run_is_what_its_folder_says(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert outcome_of(run) == Outcome("not run")
    note_start(run)
    assert outcome_of(run) == Outcome("not run")
    event(run, "start")
    assert outcome_of(run) == Outcome("stopped", KILLED)
    event(run, "spike")
    event(run, "failed", error="StabilityError: it diverged")
    assert outcome_of(run) == Outcome("failed", "StabilityError: it diverged")
    event(run, "resume")
    event(run, "stopped", reason="time limit")
    assert note_end(run, 0, run / LOG) == Outcome("stopped", "time limit")
    note_start(run)
    event(run, "resume")
    assert outcome_of(run) == Outcome("stopped", KILLED)
    event(run, "end")
    assert outcome_of(run) == Outcome("finished")
