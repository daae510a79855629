"""What asks a run to stop, what all ranks agree on, and processes that end with their parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist
from commands import ENVIRONMENT

from megatron_recipe import parent_death
from megatron_recipe import preemption as module
from megatron_recipe.agreement import agree, first_ranks
from megatron_recipe.parent_death import SIGNALS
from megatron_recipe.preemption import StopRequest, stop_on_signals


@pytest.fixture(autouse=True)
def tests_are_not_under_nohup() -> Iterator[None]:
    """Or not any more."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def request(limit_seconds: float = 0.0) -> StopRequest:
    return StopRequest(time.monotonic(), limit_seconds)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_each_signal_asks_to_stop_and_is_said_once(number, capsys):
    with stop_on_signals(request()) as stop:
        assert not stop
        send(number)
    assert stop
    assert (stop.signal, stop.reason) == (number, number.name)
    assert capsys.readouterr().err.startswith(f"{number.name}: saving a checkpoint after this step")


def test_a_second_ctrl_c_stops_at_once():
    with stop_on_signals(request()) as stop:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert stop.signal is signal.SIGINT


def test_a_second_ctrl_c_stops_at_once_also_after_torchruns_sigterm():
    with stop_on_signals(request()):
        send(signal.SIGINT)
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_schedulers_may_repeat_their_signal(capsys):
    with stop_on_signals(request()) as stop:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            send(number)
    assert stop
    assert capsys.readouterr().err.count("saving a checkpoint") == 1


def test_a_terminal_that_closes_is_nothing_to_a_run_under_nohup(capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals(request()) as stop:
            send(signal.SIGHUP)
        assert not stop
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capsys.readouterr().err == ""


def test_the_handlers_before_come_back_also_after_an_error():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(RuntimeError), stop_on_signals(request()):
        assert [signal.getsignal(number) for number in SIGNALS] != before
        raise RuntimeError("a step failed")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(("passed", "asks"), [(0.0, False), (79.9, False), (80.0, True), (100.0, True), (500.0, True)])
def test_the_time_limit_leaves_time_for_a_checkpoint(monkeypatch, capsys, passed, asks):
    monkeypatch.setattr(module.time, "monotonic", lambda: 1000.0 + passed)
    stop = StopRequest(1000.0, 100.0)
    for _ in range(2):
        stop.look_at_clock(20.0)
    assert bool(stop) is asks
    assert (stop.signal, stop.reason) == (None, "time limit" if asks else None)
    assert capsys.readouterr().err.count("time limit of 100 s: saving a checkpoint") == int(asks)


def test_no_limit_is_never_reached(monkeypatch):
    monkeypatch.setattr(module.time, "monotonic", lambda: 1e12)
    stop = StopRequest(0.0, 0.0)
    stop.look_at_clock(1e15)
    assert not stop


def test_a_signal_that_came_first_stays_the_reason():
    stop = request(limit_seconds=0.001)
    stop.receive(signal.SIGTERM, None)
    stop.look_at_clock(100.0)
    assert stop.reason == "SIGTERM"


def test_one_rank_agrees_with_itself(monkeypatch):
    monkeypatch.setattr(dist, "get_world_size", lambda: 1)
    assert agree(0.25, 1.0, 0.0) == [0.25, 1.0, 0.0]
    assert agree() == []
    facts = {"folder": Path("here")}
    assert first_ranks(facts) is facts
    assert first_ranks(None) is None


def test_several_ranks_take_the_largest_and_the_first_ones_word(monkeypatch):
    """With the two collectives played by hand: another rank says 0.5, 0 and 1; the first one says `first`."""
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)

    def reduced(tensor, op):
        assert op == dist.ReduceOp.MAX and tensor.device.type == "cpu"
        tensor.copy_(tensor.max(tensor.new_tensor([0.5, 0.0, 1.0])))

    def broadcast(box, src):
        assert src == 0
        box[0] = "first"

    monkeypatch.setattr(dist, "all_reduce", reduced)
    monkeypatch.setattr(dist, "broadcast_object_list", broadcast)
    assert agree(0.3, 0.1, 0.0) == [0.5, 0.1, 1.0]
    assert first_ranks("mine") == "first"


CHILD = """
import os, sys, time
sys.path.insert(0, {root!r})
{begin}
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-S", "-c", {child!r}])
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        # a zombie that nobody waits for has ended
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a call of Linux")
@pytest.mark.parametrize(("begin", "ends"), [("parent_death.serve_parent_only()", True), ("", False)])
def test_a_process_that_serves_its_parent_ends_when_it_is_killed(begin, ends):
    folder = str(Path(parent_death.__file__).parent)  # the module alone: the package is not needed
    child = CHILD.format(root=folder, begin=f"import parent_death; {begin}" if begin else "")
    with subprocess.Popen(
        [sys.executable, "-S", "-c", PARENT.format(child=child)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        try:
            assert is_alive(pid)
            if ends:
                for number in SIGNALS:  # heeded by the parent alone
                    os.kill(pid, number)
                assert not ends_within(pid, 0.1)
            parent.kill()
            parent.wait()
            assert ends_within(pid, 5.0 if ends else 0.3) is ends
        finally:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
