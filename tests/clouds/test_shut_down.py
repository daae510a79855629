"""The machine after a run, and a machine that idles."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from commands import NEEDS_RSYNC
from copied_run import make_run
from runpod_service import A100, KEY, RunPodService

from megatron_recipe.clouds.idle import Activity, wait_until_idle
from megatron_recipe.clouds.runpod_api import RunPod
from megatron_recipe.clouds.shut_down import (
    AfterRun,
    ByCommand,
    EndsByItself,
    Pod,
    check_shut_down,
    machine_here,
    shut_down_after_run,
)
from megatron_recipe.config import BudgetConfig, CheckpointConfig
from megatron_recipe.errors import ConfigError, MachineError

STOP, TERMINATE = BudgetConfig(at_end="stop"), BudgetConfig(at_end="terminate")


@dataclass
class Box:
    """A machine that writes down what it is told."""

    name: str = "box"
    told: list[str] = field(default_factory=list)
    is_stuck: bool = False
    can_be_deleted: bool = True

    def stop(self) -> None:
        if self.is_stuck:
            raise MachineError("no")
        self.told.append("stop")

    def terminate(self) -> None:
        self.told.append("terminate")


def after(box: Box, run_dir: Path, budget: BudgetConfig, sync_to: str = "") -> tuple[bool, list[float]]:
    slept: list[float] = []
    step = AfterRun(budget, CheckpointConfig(sync_to=sync_to), run_dir, box, slept.append)
    return step.end(is_first_machine=True), slept


def test_the_machine_is_shut_down_after_the_grace_period(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = Box()
    assert after(box, tmp_path, STOP) == (True, [1.0] * 60)
    assert box.told == ["stop"]
    assert "box is shut down in 60 s" in capsys.readouterr().err
    box = Box()
    after(box, tmp_path, TERMINATE)
    assert box.told == ["terminate"]
    assert "box is deleted with its disk in 60 s" in capsys.readouterr().err
    after(Box(can_be_deleted=False), tmp_path, TERMINATE)  # AutoDL: only its owner's console deletes
    assert "box is shut down in 60 s" in capsys.readouterr().err


def test_a_file_keeps_the_machine_up(tmp_path: Path) -> None:
    (tmp_path / "stay_up").touch()
    box = Box()
    assert after(box, tmp_path, STOP) == (False, [])
    assert box.told == []


@NEEDS_RSYNC
def test_it_is_copied_first_and_never_deleted_without_a_copy(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 10)
    box = Box()
    after(box, run, TERMINATE, str(tmp_path / "there"))
    assert box.told == ["terminate"]
    assert (tmp_path / "there" / "run" / "checkpoints" / "step_00000010" / "checkpoint.json").exists()
    (tmp_path / "file").touch()
    box = Box()
    _, slept = after(box, run, TERMINATE, str(tmp_path / "file" / "there"))
    assert box.told == ["stop"]
    assert slept[:2] == [60.0, 60.0]  # between three attempts


def test_a_machine_that_cannot_be_shut_down_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not after(Box(is_stuck=True), tmp_path, STOP)[0]
    assert "costs on" in capsys.readouterr().err


def test_one_rank_of_each_machine_does_it(tmp_path: Path) -> None:
    budget = BudgetConfig(at_end="stop", shut_down_command=f"touch {tmp_path}/down", shut_down_after_seconds=0)
    assert not shut_down_after_run(budget, CheckpointConfig(), tmp_path, {"LOCAL_RANK": "1", "RANK": "1"})
    assert not shut_down_after_run(BudgetConfig(), CheckpointConfig(), tmp_path, {})
    assert not (tmp_path / "down").exists()
    assert shut_down_after_run(budget, CheckpointConfig(), tmp_path, {"LOCAL_RANK": "0", "RANK": "8"})
    assert (tmp_path / "down").exists()


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"RUNPOD_POD_ID": "pod1", "RUNPOD_API_KEY": KEY}, Pod),
        ({"AutoDLContainerUUID": "c1"}, ByCommand),
        ({"AutoDLContainerUUID": "c1", "AutoDLDeploymentUUID": "d1"}, EndsByItself),
    ],
)
def test_platforms_are_known_by_what_they_set(environment: Mapping[str, str], kind: type) -> None:
    assert isinstance(machine_here(environment), kind)


def test_a_machine_that_is_not_known_is_an_error_at_the_start() -> None:
    with pytest.raises(ConfigError, match="shut_down_command"):
        check_shut_down(STOP, {})
    check_shut_down(BudgetConfig(), {})
    check_shut_down(BudgetConfig(at_end="stop", shut_down_command="poweroff"), {})


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(MachineError, match="code 3"):
        ByCommand("box", "exit 3").stop()


def test_a_pod_ends_itself_through_the_api() -> None:
    with RunPodService() as service:
        environment = {"RUNPOD_API_BASE_URL": service.address, "RUNPOD_API_KEY": KEY, "RUNPOD_POD_ID": ""}
        api = RunPod.of(environment)
        body = {"name": "a", "image": "i", "gpu": {"id": A100, "count": 1}, "cloud": "SECURE", "disk": 5, "ports": []}
        pod_id = api.create({**body, "env": {}})["id"]
        machine = machine_here({**environment, "RUNPOD_POD_ID": pod_id})
        assert machine is not None
        machine.stop()
        assert service.pods[pod_id]["status"] == "EXITED"
        machine.terminate()
        machine.terminate()  # gone already
        assert service.pods == {}
        # one that cannot be stopped is given back only where its data stays
        for mounts, left in (({"network": [{"volumeId": "vol1", "path": "/workspace"}]}, 0), ({}, 1)):
            pod_id = api.create({**body, "env": {}, "mounts": mounts})["id"]
            service.pods[pod_id]["actions"] = ["terminate"]
            try:
                Pod(api, pod_id).stop()
            except MachineError:
                assert left
            assert len(service.pods) == left


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_an_idle_machine_is_waited_for_and_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    wait_until_idle(30, lambda: clock.now < 600, lambda: clock.now, clock.sleep)
    assert 600 + 1800 - 20 <= clock.now <= 600 + 1800 + 20
    assert "idle for 25 minutes and is shut down in 5" in capsys.readouterr().err


def test_work_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{1: 10.0, 2: 5.0}, {1: 10.0, 2: 5.01}, {1: 10.0, 2: 8.0, 3: 99.0}])
    monkeypatch.setattr("megatron_recipe.clouds.idle.processor_seconds", lambda: next(readings))
    monkeypatch.setattr("megatron_recipe.clouds.idle.gpu_percent", lambda: 0)
    monkeypatch.setattr("megatron_recipe.clouds.idle.is_copying", lambda: False)
    times = iter([0.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr("megatron_recipe.clouds.idle.time.monotonic", lambda: next(times))
    activity = Activity(looked=0.0)
    assert not activity.is_busy()  # nothing to compare with, and processes that were there before
    assert not activity.is_busy()  # 0.01 cores
    assert activity.is_busy()  # three cores; a new process counts from its second look
