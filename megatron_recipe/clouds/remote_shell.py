"""ssh to a rented machine: a shell, its log, and a store of the runs on it."""

import os
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.errors import ConfigError, MachineError
from megatron_recipe.sync_pull import pull
from megatron_recipe.sync_push import push
from megatron_recipe.sync_rsync import RsyncStore

LOOK_EVERY_SECONDS = 10.0
PATIENCE_SECONDS = 1800.0
"""A large image is pulled before sshd runs: that takes ten minutes where the data center has not got it yet."""


@dataclass(frozen=True)
class Door:
    """Where a machine's sshd is; your keys are ssh's own matter.

    Args:
        machine: its id. A host and port of a cloud belong to another machine tomorrow, with another host key, so the
            key is remembered under this name; that of a new machine is taken without asking.
    """

    user: str
    host: str
    port: int
    machine: str

    def options(self) -> list[str]:
        """For ssh. The port is in the name too: a pod that was stopped comes back with a new port and a new key."""
        known_as = f"HostKeyAlias={self.machine}.{self.port}"
        return ["-o", known_as, "-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectionAttempts=20"]

    def command(self, *remote: str) -> list[str]:
        """The command line; `remote` is run there, none opens a shell. It begins with no option, whatever it holds."""
        return ["ssh", "-p", str(self.port), *self.options(), f"{self.user}@{self.host}", *remote]

    def enter(self, remote: str = "", *, dry_run: bool) -> None:
        """Become ssh; with `dry_run` say how."""
        command = self.command(*([remote] if remote else []))
        if dry_run:
            console.say(f"would run: {shlex.join(command)}")
            return
        if shutil.which("ssh") is None:
            raise MachineError("ssh is not installed; run: apt-get install openssh-client")
        os.execvp(command[0], command)


def wait_for_door(look: Callable[[], Door | None], machine: str) -> Door:
    """The door, once `look` finds it; that raises where waiting is in vain. Raises MachineError after half an hour."""
    began = time.monotonic()
    while (door := look()) is None:
        waited = time.monotonic() - began
        if waited > PATIENCE_SECONDS:
            raise MachineError(
                f"{machine} has no open ssh port after {waited / 60:.0f} minutes; look at its page on the console. It "
                "needs your public key there, and port 22 exposed"
            )
        console.say(f"{machine} is starting: {waited:.0f} s (the image is pulled first); Ctrl-C ends the waiting alone")
        time.sleep(LOOK_EVERY_SECONDS)
    return door


def words_of(run: str) -> list[str]:
    """Launch file and arguments of `--run`. Raises ConfigError where they are not quoted as a shell has it."""
    try:
        return shlex.split(run)
    except ValueError as error:
        raise ConfigError(f"--run {run}: {str(error).lower()}; quote it as in a shell") from None


def door_of(ssh_command: str, machine: str) -> Door:
    """The door in `ssh -p 34222 root@host`, as AutoDL writes it. Raises MachineError for anything else."""
    words = shlex.split(ssh_command)
    if len(words) == 4 and words[:2] == ["ssh", "-p"] and words[2].isdigit() and "@" in words[3]:
        user, _, host = words[3].partition("@")
        if user and host and not (user + host).startswith("-"):
            return Door(user, host, int(words[2]), machine)
    raise MachineError("the machine's ssh address has a form that is not known; look at its page on the console")


def sync_by_door(door: Door, folder: Path, remote: str, *, outward: bool, dry_run: bool) -> None:
    """Copy `folder` to `remote`/NAME on the machine, or bring it from there. Raises as `push` and `pull`."""
    if not remote.startswith("/"):
        raise ConfigError(f"--remote {remote}: a path from /, such as /workspace/runs")
    store = RsyncStore(f"{door.user}@{door.host}:{remote}", door.port, door.options())
    if dry_run:
        there = f"{store.name}/{folder.resolve().name} (port {door.port})"
        console.say(f"would copy {folder} to {there}" if outward else f"would copy {there} to {folder}")
    elif outward:
        push(folder.resolve(), store)
        console.say(f"sync: {folder} is there; verified")
    else:
        pull(folder.resolve(), store)
