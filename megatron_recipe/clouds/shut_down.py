"""How this machine is shut down, by its platform's own way, and the step after a run that does it.

RunPod: its API, with RUNPOD_POD_ID and the key that each pod has. AutoDL: the command `shutdown` of an instance; a
container of an elastic deployment ends with its command. Elsewhere: budget.shut_down_command.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from megatron_recipe import console
from megatron_recipe.clouds.runpod_api import RunPod
from megatron_recipe.config import BudgetConfig, CheckpointConfig
from megatron_recipe.errors import ConfigError, MachineError, RecipeError

STAY_UP = "stay_up"
POD, AUTODL_INSTANCE, AUTODL_DEPLOYMENT = "RUNPOD_POD_ID", "AutoDLContainerUUID", "AutoDLDeploymentUUID"
AUTODL_DISK = Path("/root/autodl-tmp")
LOOK_EVERY_SECONDS = 1.0
COPY_ATTEMPTS = 3
COPY_PAUSE_SECONDS = 60.0


class Machine(Protocol):
    """This machine, as its platform lets it be ended from within."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def can_be_deleted(self) -> bool:
        """Whether `terminate` gives it back with its disk, or is the same as `stop`."""

    def stop(self) -> None:
        """Shut down; the disk stays. Raises MachineError."""

    def terminate(self) -> None:
        """Give back, with its disk. Raises MachineError."""


@dataclass
class Pod:
    """A pod of RunPod."""

    api: RunPod
    pod_id: str
    can_be_deleted: bool = True

    @property
    def name(self) -> str:
        """For messages."""
        return f"pod {self.pod_id}"

    def stop(self) -> None:
        """A pod that cannot be stopped is terminated only where its data lies on a network volume."""
        pod = self.api.pod(self.pod_id) or {}
        can = pod.get("actions", ["stop"])
        if "stop" not in can and "terminate" in can and pod.get("mounts", {}).get("network"):
            self.terminate()
            return
        self.api.act(self.pod_id, "stop")

    def terminate(self) -> None:
        """By deleting it."""
        self.api.delete(self.pod_id)


@dataclass
class ByCommand:
    """A machine that a command shuts down; only its owner's console gives it back."""

    name: str
    command: str
    can_be_deleted: bool = False

    def stop(self) -> None:
        """Run the command."""
        done = subprocess.run(["sh", "-c", self.command], stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise MachineError(
                f"{self.command!r} ended with code {done.returncode}: {self.name} is still up and costs money; "
                "end it in the platform's console"
            )

    def terminate(self) -> None:
        """The same: what remains is deleted by hand, or by another machine (`launch autodl down --release`)."""
        self.stop()


@dataclass
class EndsByItself:
    """A container whose end is that of its command."""

    name: str = "this container"
    can_be_deleted: bool = False

    def stop(self) -> None:
        """Nothing: the command ends next."""

    def terminate(self) -> None:
        """Nothing."""


def machine_here(environment: Mapping[str, str] = os.environ, command: str = "") -> Machine | None:
    """This machine; None where neither a platform is known nor a command given."""
    if command:
        return ByCommand("this machine", command)
    if environment.get(POD):
        return Pod(RunPod.of(environment), environment[POD])
    if environment.get(AUTODL_DEPLOYMENT):
        return EndsByItself("the container of this elastic deployment")
    if environment.get(AUTODL_INSTANCE) or AUTODL_DISK.is_dir():
        return ByCommand("this AutoDL instance", shutil.which("shutdown") or "/usr/bin/shutdown")
    return None


def check_shut_down(budget: BudgetConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Raise ConfigError now where the machine could not be shut down when the run is over."""
    if budget.at_end != "nothing" and machine_here(environment, budget.shut_down_command) is None:
        raise ConfigError(
            f"budget.at_end={budget.at_end}, and this machine is neither a pod of RunPod ({POD}) nor an instance of "
            "AutoDL; set budget.shut_down_command, such as 'sudo poweroff', or budget.at_end=nothing"
        )


@dataclass
class AfterRun:
    """The step after a run that ended well: copy, warn, wait, shut down. `machine` and `sleep` are given by tests."""

    budget: BudgetConfig
    checkpoint: CheckpointConfig
    run_dir: Path
    machine: Machine
    sleep: Callable[[float], None] = time.sleep

    def end(self, *, is_first_machine: bool) -> bool:
        """Do it; returns whether the machine was told to shut down.

        is_first_machine: only that one copies the run, whose folder all machines share.
        """
        how = self.budget.at_end
        if self.checkpoint.sync_to and is_first_machine and not self._copy() and how == "terminate":
            console.warn("the run was not copied, so its machine is stopped and not terminated: its disk stays")
            how = "stop"
        if not self._warned_in_vain(how):
            return False
        try:
            (self.machine.terminate if how == "terminate" else self.machine.stop)()
        except RecipeError as error:
            console.warn(f"{self.machine.name} could not be shut down and costs on: {error}")
            return False
        return True

    def _copy(self) -> bool:
        from megatron_recipe.sync_push import push
        from megatron_recipe.sync_store import open_store

        for attempt in range(COPY_ATTEMPTS):
            try:
                push(self.run_dir.absolute(), open_store(self.checkpoint.sync_to), self.checkpoint.sync_keep)
            except RecipeError as error:
                console.warn(f"the run could not be copied to {self.checkpoint.sync_to}: {error}")
                if attempt < COPY_ATTEMPTS - 1:
                    self.sleep(COPY_PAUSE_SECONDS)
                continue
            return True
        return False

    def _warned_in_vain(self, how: str) -> bool:
        """Warn, and wait; False where somebody wants the machine."""
        stay = self.run_dir / STAY_UP
        grace = self.budget.shut_down_after_seconds
        word = "deleted with its disk" if how == "terminate" and self.machine.can_be_deleted else "shut down"
        console.warn(
            f"the run is over: {self.machine.name} is {word} in {grace:.0f} s (budget.at_end={self.budget.at_end}); "
            f"to keep it: touch {stay}"
        )
        waited = 0.0
        while not stay.exists() and waited < grace:
            pause = min(LOOK_EVERY_SECONDS, grace - waited)
            self.sleep(pause)
            waited += pause
        if stay.exists():
            console.say(f"{stay} is there: {self.machine.name} stays up")
            return False
        return True


def shut_down_after_run(
    budget: BudgetConfig, checkpoint: CheckpointConfig, run_dir: Path, environment: Mapping[str, str] = os.environ
) -> bool:
    """Shut this machine down as budget.at_end says; called when a run has ended well, by every rank.

    One rank of each machine does it. Returns whether the machine was told to.
    """
    if budget.at_end == "nothing" or environment.get("LOCAL_RANK", "0") != "0":
        return False
    machine = machine_here(environment, budget.shut_down_command)
    if machine is None:
        return False
    after = AfterRun(budget, checkpoint, run_dir, machine)
    return after.end(is_first_machine=environment.get("RANK", "0") == "0")
