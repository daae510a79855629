"""ssh to rented machines: waited for, and with a host key of each machine's own."""

import pytest

from megatron_recipe.clouds import remote_shell
from megatron_recipe.clouds.remote_shell import Door, door_of, wait_for_door
from megatron_recipe.errors import MachineError

DOOR = Door("root", "10.0.0.1", 34446, "pod1")


def test_sshd_is_waited_for_while_the_image_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(remote_shell.time, "sleep", waited.append)
    looks = iter([None, None, DOOR])
    assert wait_for_door(lambda: next(looks), "pod one") == DOOR
    assert waited == [remote_shell.LOOK_EVERY_SECONDS] * 2
    monkeypatch.setattr(remote_shell, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(MachineError, match="pod one has no open ssh port after 0 minutes"):
        wait_for_door(lambda: None, "pod one")


def test_a_host_key_belongs_to_the_machine_and_not_to_its_address() -> None:
    command = DOOR.command("tail x")
    assert command[:5] == ["ssh", "-p", "34446", "-o", "HostKeyAlias=pod1.34446"]
    assert "StrictHostKeyChecking=accept-new" in command
    assert command[-2:] == ["root@10.0.0.1", "tail x"]


def test_an_ssh_address_is_taken_apart_and_never_run() -> None:
    assert door_of("ssh -p 34222 root@connect.x.com", "u1") == Door("root", "connect.x.com", 34222, "u1")
    for wrong in ("ssh -p 1 root@x; rm -rf /", "ssh -p x root@h", "ssh -p 1 -oProxyCommand=x@y", "rm -p 1 a@b"):
        with pytest.raises(MachineError):
            door_of(wrong, "u1")
