"""A run that is struck from outside: killed once, what follows done once, begun again, and stopped when asked."""

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path

from megatron_recipe.config import Config
from megatron_recipe.lab.incident_changes import Change
from megatron_recipe.lab.incident_strikes import STRIKES, Struck
from megatron_recipe.recipes import load_config

CONFIG = load_config("gpt_tiny_cpu")


class Flood(Change):
    """Strikes as soon as it is asked, unless it has."""

    kind: str = "flood"

    def strikes(self, config: Config, folder: Path) -> bool:
        return not (folder / STRIKES).is_file()

    def aftermath(self, config: Config, folder: Path) -> None:
        with (folder / "water").open("a") as file:
            file.write("in\n")


@dataclass
class Process:
    """A process that ends when it is killed, or after so many looks."""

    left: int = 5
    signals: list[int] = field(default_factory=list)

    def poll(self) -> int | None:
        self.left -= 1
        return -9 if signal.SIGKILL in self.signals else None if self.left > 0 else 0

    def send_signal(self, sig: int) -> None:
        self.signals.append(sig)


@dataclass
class Starter:
    begun: list[Process] = field(default_factory=list)

    def __call__(self) -> Process:
        self.begun.append(Process())
        return self.begun[-1]


def code_of(struck: Struck) -> int:
    return next(code for code in iter(struck.poll, "never") if code is not None)


def test_struck_once_and_begun_again(tmp_path: Path) -> None:
    start = Starter()
    assert code_of(Struck(start, (Change(kind="none"), Flood()), CONFIG, tmp_path)) == 0
    assert [process.signals for process in start.begun] == [[signal.SIGKILL], []]
    assert json.loads((tmp_path / STRIKES).read_text()) == {"count": 1, "by": 1, "follows": False}
    assert (tmp_path / "water").read_text() == "in\n"


def test_what_follows_is_done_also_where_the_lab_was_killed_between(tmp_path: Path) -> None:
    (tmp_path / STRIKES).write_text(json.dumps({"count": 1, "by": 0, "follows": True}))
    start = Starter()
    struck = Struck(start, (Flood(),), CONFIG, tmp_path)
    assert (tmp_path / "water").read_text() == "in\n"  # before the run begins
    assert code_of(struck) == 0
    assert len(start.begun) == 1
    assert (tmp_path / "water").read_text() == "in\n"


def test_a_run_that_is_asked_to_stop_is_neither_struck_nor_begun_again(tmp_path: Path) -> None:
    start = Starter()
    struck = Struck(start, (Flood(),), CONFIG, tmp_path)
    struck.send_signal(signal.SIGTERM)
    assert code_of(struck) == 0
    assert [process.signals for process in start.begun] == [[signal.SIGTERM]]
    assert not (tmp_path / STRIKES).exists()


def test_stopped_between_strike_and_new_start(tmp_path: Path) -> None:
    start = Starter()
    struck = Struck(start, (Flood(),), CONFIG, tmp_path)
    assert struck.poll() is None  # killed now
    struck.send_signal(signal.SIGTERM)
    assert struck.poll() == -9
    assert len(start.begun) == 1


def test_a_run_without_changes_is_its_process(tmp_path: Path) -> None:
    start = Starter()
    assert code_of(Struck(start, (), CONFIG, tmp_path)) == 0
    assert not (tmp_path / STRIKES).exists()
