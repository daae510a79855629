"""What `launch lambda` does."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe import console
from megatron_recipe.clouds.lambda_api import Lambda
from megatron_recipe.clouds.remote_shell import Door, sync_by_door, wait_for_door, words_of
from megatron_recipe.clouds.web import CloudError
from megatron_recipe.errors import ConfigError, MachineError

CONTAINER = "megatron-recipe"
USER, PORT = "ubuntu", 22
REFUSED = 400


@dataclass(frozen=True)
class InstanceOrder:
    """The options of `up`; `max_price` in USD an hour for the instance, 0 is no limit."""

    name: str
    types: tuple[str, ...]
    file_system: str
    ssh_key: str
    max_price: float


def up_command(order: InstanceOrder, *, dry_run: bool) -> None:
    """Rent the first type of the list that can be had."""
    api = Lambda.of()
    there = api.named(order.name)
    if there is not None:
        console.say(f"instance {there['id']} is there already ({there['status']}); to make another: --name")
        return
    bodies, refusals = bodies_of(api, order)
    for body in bodies:
        if dry_run:
            print(json.dumps(body, indent=1, ensure_ascii=False))
            return
        try:
            made = _launch_once(api, body)
        except CloudError as error:
            if error.status != REFUSED:
                raise
            refusals.append(f"{body['instance_type_name']}: {error}")
            continue
        console.say(
            f"instance {made}: {body['instance_type_name']} in {body['region_name']}; it is paid for until down"
        )
        return
    raise CloudError(
        f"Lambda has none of these now: {' | '.join(refusals)}. Allow more with --type, or try later", REFUSED
    )


def bodies_of(api: Lambda, order: InstanceOrder) -> tuple[list[dict[str, Any]], list[str]]:
    """What to send for each type that may do, and why the others do not. Raises ConfigError for unknown names."""
    file_system = api.file_system(order.file_system)
    if file_system is None:
        raise ConfigError(
            f"--file-system {order.file_system}: the account has none of this name; make one on the console"
        )
    region = str(file_system["region"]["name"])
    keys = api.ssh_keys()
    key = order.ssh_key or (keys[0] if len(keys) == 1 else "")
    if key not in keys:
        raise ConfigError(
            f"--ssh-key {key or '…'}: one of the account's keys, {', '.join(keys) or 'of which it has none'}"
        )
    types = api.types()
    bodies, refusals = [], []
    for name in order.types:
        if name not in types:
            raise ConfigError(f"--type {name}: not known to Lambda; it has {', '.join(sorted(types))}")
        price = float(types[name]["instance_type"]["price_cents_per_hour"]) / 100
        if order.max_price and price > order.max_price:
            refusals.append(f"{name}: {price:.2f} USD/h is above --max-price {order.max_price:g}")
        elif region not in [one["name"] for one in types[name]["regions_with_capacity_available"]]:
            refusals.append(f"{name}: none free in {region}, where the file system is")
        else:
            body = {"region_name": region, "instance_type_name": name, "ssh_key_names": [key], "name": order.name}
            bodies.append({**body, "file_system_names": [order.file_system]})
    return bodies, refusals


def _launch_once(api: Lambda, body: dict[str, Any]) -> str:
    """After a fault without a clear answer, look whether an instance was made, so that none is paid for twice."""
    try:
        return api.launch(body)
    except CloudError as error:
        if 0 < error.status < 500 or (made := api.named(body["name"])) is None:
            raise
        return str(made["id"])


def instance_of(api: Lambda, name: str) -> dict[str, Any]:
    """The instance of this name. Raises MachineError where there is none."""
    found = api.named(name)
    if found is None:
        others = ", ".join(sorted(str(one.get("name")) for one in api.instances())) or "none"
        raise MachineError(f"Lambda has no instance named {name}; there are: {others}. Rent one: launch lambda up")
    return found


def status_command(name: str) -> None:
    """Print one line for each fact; never Jupyter's token."""
    one = instance_of(Lambda.of(), name)
    rows = {
        "instance": f"{one['id']} ({name})",
        "status": one["status"],
        "type": one["instance_type"]["name"],
        "where": one["region"]["name"],
        "cost": f"{one['instance_type']['price_cents_per_hour'] / 100:.2f} USD/h until down",
        "file system": ", ".join(one.get("file_system_names") or []),
    }
    for label, value in rows.items():
        print(f"{label:12} {value}")


def door(name: str) -> Door:
    """Its sshd, which is waited for."""
    api = Lambda.of()

    def look() -> Door | None:
        one = instance_of(api, name)
        return Door(USER, str(one["ip"]), PORT, str(one["id"])) if one.get("ip") and one["status"] == "active" else None

    return wait_for_door(look, name)


def disk_of(name: str) -> str:
    """Where the file system is mounted on the instance. Raises MachineError where it has none."""
    names = instance_of(Lambda.of(), name).get("file_system_names") or []
    if not names:
        raise MachineError(f"{name} has no file system: what it writes goes with it; rent one with --file-system")
    return f"/lambda/nfs/{names[0]}"


def run_command(name: str, run: str, image: str, *, dry_run: bool) -> None:
    """`docker run` on the instance, as its own user, who owns the file system."""
    start = ["sudo", "docker", "run", "--detach", "--name", CONTAINER, "--gpus", "all", "--ipc=host"]
    start += ["--ulimit", "memlock=-1", "--user", "1000", "--env", "HOME=/tmp", "-v", f"{disk_of(name)}:/workspace"]
    inside = ["megatron-recipe", "launch", "run", "--idle-minutes", "0", *words_of(run)]
    again = f"sudo docker rm --force {CONTAINER} >/dev/null 2>&1; "
    door(name).enter(again + shlex.join([*start, "--workdir", "/workspace", image, *inside]), dry_run=dry_run)


def logs_command(name: str, tail: int, *, follow: bool, dry_run: bool) -> None:
    """What the container has said."""
    options = ["--tail", str(tail), *(["--follow"] if follow else [])]
    door(name).enter(shlex.join(["sudo", "docker", "logs", *options, CONTAINER]), dry_run=dry_run)


def sync_command(name: str, folder: Path, remote: str, *, to_machine: bool, dry_run: bool) -> None:
    """Copy by rsync through its sshd."""
    sync_by_door(door(name), folder, f"{disk_of(name)}/{remote.strip('/')}", outward=to_machine, dry_run=dry_run)


def down_command(name: str, *, dry_run: bool) -> None:
    """Terminate."""
    api = Lambda.of()
    instance = str(instance_of(api, name)["id"])
    if dry_run:
        console.say(f"would terminate {instance}, with its own disk; its file system stays")
        return
    api.terminate(instance)
    console.say(f"{instance} is terminated; its file system stays, and is paid for")
