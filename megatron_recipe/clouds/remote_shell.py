"""ssh to a rented machine: a shell, its log, and a store of the runs on it."""

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.errors import ConfigError, MachineError
from megatron_recipe.sync_pull import pull
from megatron_recipe.sync_push import push
from megatron_recipe.sync_rsync import RsyncStore


@dataclass(frozen=True)
class Door:
    """Where a machine's sshd is; keys are ssh's own matter."""

    user: str
    host: str
    port: int

    def command(self, *remote: str) -> list[str]:
        """The command line; `remote` is run there, none opens a shell. It begins with no option, whatever it holds."""
        return ["ssh", "-p", str(self.port), f"{self.user}@{self.host}", *remote]

    def enter(self, remote: str = "", *, dry_run: bool) -> None:
        """Become ssh; with `dry_run` say how."""
        command = self.command(*([remote] if remote else []))
        if dry_run:
            console.say(f"would run: {shlex.join(command)}")
            return
        if shutil.which("ssh") is None:
            raise MachineError("ssh is not installed; run: apt-get install openssh-client")
        os.execvp(command[0], command)


def door_of(ssh_command: str) -> Door:
    """The door in `ssh -p 34222 root@host`, as AutoDL writes it. Raises MachineError for anything else."""
    words = shlex.split(ssh_command)
    if len(words) == 4 and words[:2] == ["ssh", "-p"] and words[2].isdigit() and "@" in words[3]:
        user, _, host = words[3].partition("@")
        if user and host and not (user + host).startswith("-"):
            return Door(user, host, int(words[2]))
    raise MachineError("the machine's ssh address has a form that is not known; look at its page on the console")


def sync_by_door(door: Door, folder: Path, remote: str, *, outward: bool, dry_run: bool) -> None:
    """Copy `folder` to `remote`/NAME on the machine, or bring it from there. Raises as `push` and `pull`."""
    if not remote.startswith("/"):
        raise ConfigError(f"--remote {remote}: a path from /, such as /workspace/runs")
    store = RsyncStore(f"{door.user}@{door.host}:{remote}", door.port)
    if dry_run:
        there = f"{store.name}/{folder.resolve().name} (port {door.port})"
        console.say(f"would copy {folder} to {there}" if outward else f"would copy {there} to {folder}")
    elif outward:
        push(folder.resolve(), store)
    else:
        pull(folder.resolve(), store)
