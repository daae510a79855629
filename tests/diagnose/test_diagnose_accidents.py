"""`diagnose` on runs that were struck: killed, out of memory, without their checkpoints."""

import json
import platform
import time
from pathlib import Path

import pytest
from made_metrics import STEPS, healthy, write
from spoiled_metrics import SPOILED

from megatron_recipe.diagnose.criteria import Result, judge
from megatron_recipe.diagnose.reading import read_facts
from megatron_recipe.diagnose.signals import Signals
from megatron_recipe.files import held_alone

LATER = 7 * 24 * 3600.0


def results(folder: Path, later: float = LATER) -> list[Result]:
    return judge(Signals(read_facts(folder, now=time.time() + later)))


def ill(found: list[Result]) -> list[str]:
    return [one.criterion.name for one in found if one.finding.state in ("wrong", "attention")]


def test_a_process_that_is_gone_is_known_by_its_lock_at_once(tmp_path: Path) -> None:
    made = healthy()
    del made.events[-1]
    made.environment["host"] = platform.node()
    folder = write(made, tmp_path)
    with held_alone(folder / ".lock", "busy"):
        assert ill(results(folder, later=1)) == []
    assert ill(results(folder, later=1)) == ["run_silent"]
    (folder / "environment.json").write_text(json.dumps({**made.environment, "host": "another"}))
    assert ill(results(folder, later=1)) == []  # its lock says nothing here


def test_memory_that_ran_out_asks_for_a_look_once_the_run_goes_on(tmp_path: Path) -> None:
    made = healthy()
    SPOILED["out_of_memory"](made)
    made.events += [{"event": "start", "step": 0, "micro_batch": 8}, {"event": "end", "step": STEPS}]
    first = results(write(made, tmp_path))[0]
    assert (first.criterion.name, first.finding.state) == ("out_of_memory", "attention")
    assert first.finding.evidence[1].value == 8


@pytest.mark.parametrize(
    "error",
    [
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "MachineError: out of GPU memory with micro-batch 8, recompute none",
        "MemoryError: ",
    ],
)
def test_every_allocator_is_understood(tmp_path: Path, error: str) -> None:
    made = healthy()
    made.events[-1] = {"event": "failed", "step": STEPS, "error": error}
    assert ill(results(write(made, tmp_path)))[:2] == ["out_of_memory", "run_failed"]


def test_a_kill_says_what_it_cost(tmp_path: Path) -> None:
    made = healthy()
    SPOILED["run_killed"](made)
    made.events[-1]["seconds"] = 900.0
    folder = write(made, tmp_path)
    (folder / "spending.json").write_text(json.dumps({"instances": [{"seconds": 300.0}, {"seconds": 700.0}]}))
    (evidence,) = results(folder)[0].finding.evidence[1:]
    assert evidence.value == pytest.approx(0.1)


def test_a_stop_that_was_asked_for_is_no_kill(tmp_path: Path) -> None:
    made = healthy()
    made.events[2:2] = [{"event": "stopped", "step": 500}, {"event": "resume", "step": 500, "micro_batch": 16}]
    assert ill(results(write(made, tmp_path))) == []


def test_all_checkpoints_lost_is_wrong_while_the_run_goes_on(tmp_path: Path) -> None:
    made = healthy()
    made.events[-1] = {"event": "start", "step": 0, "micro_batch": 16}
    state = {one.criterion.name: one.finding.state for one in results(write(made, tmp_path), later=1)}
    assert state["checkpoint_lost"] == "wrong"


def test_the_newest_checkpoint_is_missed_and_a_rollback_is_not(tmp_path: Path) -> None:
    made = healthy()
    folder = write(made, tmp_path)
    for step in (1_000, 1_500):
        marker = folder / f"checkpoints/step_{step:08d}/checkpoint.json"
        marker.parent.mkdir(parents=True)
        marker.write_text("{}")
    assert ill(results(folder)) == ["checkpoint_lost"]
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"event": "rollback", "from_step": 2000, "to_step": 1500}\n{"event": "end", "step": 2000}\n')
    assert "checkpoint_lost" not in ill(results(folder))


def test_no_checkpoint_at_all_is_wrong_and_a_copy_without_them_is_not_judged(tmp_path: Path) -> None:
    folder = write(healthy(), tmp_path)
    (folder / "checkpoints").mkdir(exist_ok=True)
    assert ill(results(folder)) == ["checkpoint_lost"]
    (folder / "checkpoints").rmdir()
    state = {one.criterion.name: one.finding.state for one in results(folder)}
    assert state["checkpoint_lost"] == "not measured"
