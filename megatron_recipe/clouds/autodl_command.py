"""What `launch autodl` does."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from megatron_recipe import console
from megatron_recipe.clouds.autodl_api import PER_YUAN, AutoDL
from megatron_recipe.clouds.autodl_rent import InstanceWish, begin_deployment, rent_instance
from megatron_recipe.clouds.remote_shell import Door, door_of, sync_by_door, wait_for_door, words_of
from megatron_recipe.errors import MachineError

OFF = ("shutdown", "stopped")
RUN_LOG = "/root/autodl-tmp/run.log"
RECIPE = "~/megatron-recipe"
"""Where docs/clouds.md has the recipe: on the system disk, so that a saved image holds it."""


def command_of(run: str, idle_minutes: float) -> str:
    """What the machine runs when it is up; empty is nothing."""
    if not run:
        return ""
    words = shlex.join(words_of(run))
    return f"bash {RECIPE}/launch/autodl/start.sh --idle-minutes {idle_minutes:g} {words}"


def up_command(wish: InstanceWish, run: str, idle_minutes: float, *, elastic: bool, dry_run: bool) -> None:
    """Rent a machine, or start the one of this name."""
    wish = replace(wish, command=command_of(run, idle_minutes))
    api = AutoDL.of()
    if dry_run:
        body = wish.deployment_body() if elastic else wish.instance_body(wish.gpus[0])
        print(json.dumps(body, indent=1, ensure_ascii=False))
        return
    if elastic:
        there = api.deployment_named(wish.name)
        if there is not None and there.get("status") == "running":
            console.say(f"deployment {there['uuid']} is there already; to make another: --name")
            return
        console.say(f"deployment {begin_deployment(api, wish)} has begun")
        return
    instance = api.instance_named(wish.name)
    if instance is None:
        rent_instance(api, wish)
    elif instance["status"] == "shutdown":
        api.power_on(instance["uuid"], wish.command)
        console.say(f"instance {instance['uuid']} is started again")
    else:
        console.say(f"instance {instance['uuid']} is there already ({instance['status']}); to make another: --name")


def instance_of(api: AutoDL, name: str) -> dict[str, Any]:
    """The instance of this name. Raises MachineError where there is none."""
    found = api.instance_named(name)
    if found is None:
        others = ", ".join(sorted(one["name"] for one in api.instances())) or "none"
        raise MachineError(
            f"AutoDL has no instance (Pro) named {name}; there are: {others}. Ordinary instances have no API: use ssh, "
            "and megatron-recipe sync --to"
        )
    return found


def deployment_of(api: AutoDL, name: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The deployment of this name, and its container that runs. Raises MachineError where there is no deployment."""
    found = api.deployment_named(name)
    if found is None:
        raise MachineError(f"AutoDL has no deployment named {name}; begin one: launch autodl up --elastic")
    running = [one for one in api.containers(found["uuid"]) if one.get("status") == "running"]
    return found, next(iter(running), None)


def status_command(name: str, *, elastic: bool) -> None:
    """Print one line for each fact; never passwords and tokens."""
    api = AutoDL.of()
    if elastic:
        deployment, container = deployment_of(api, name)
        rows = {"deployment": f"{deployment['uuid']} ({name})", "status": deployment.get("status")}
        if container:
            rows |= {
                "container": f"{container['uuid']}, {container.get('gpu_num')} × {container.get('gpu_name')}",
                "cost": f"{float(container.get('price') or 0) / PER_YUAN:.2f} yuan/h",
                **_service((container.get("info") or {}).get("service_6006_port_url")),
            }
    else:
        instance = instance_of(api, name)
        seen = api.snapshot(instance["uuid"])
        used = seen.get("usage_info") or {}
        rows = {
            "instance": f"{instance['uuid']} ({name})",
            "status": api.status(instance["uuid"]),
            "gpus": f"{instance.get('req_gpu_amount')} × {instance.get('gpu_spec_uuid')}",
            "where": seen.get("region_sign"),
            "cost": f"{float(seen.get('payg_price') or 0) / PER_YUAN:.2f} yuan/h while it runs",
            "system disk": _gigabytes(used, "root_fs_used_size", "root_fs_total_size"),
            "data disk": _gigabytes(used, "data_disk_used_size", "data_disk_total_size"),
            **_service(seen.get("service_6006_domain")),
        }
    for label, value in rows.items():
        print(f"{label:12} {value}")


def _gigabytes(used: Mapping[str, Any], part: str, whole: str) -> str:
    return f"{float(used.get(part) or 0) / 1e9:.1f} of {float(used.get(whole) or 0) / 1e9:.1f} GB"


def _service(domain: str | None) -> dict[str, str]:
    return {"TensorBoard": domain if "://" in domain else f"https://{domain}"} if domain else {}


def door(name: str, *, elastic: bool) -> Door:
    """Its sshd, which is waited for. Raises MachineError where the machine is off."""
    api = AutoDL.of()

    def look() -> Door | None:
        if elastic:
            found, container = deployment_of(api, name)
            uuid, address = (container or {}).get("uuid"), ((container or {}).get("info") or {}).get("ssh_command")
        else:
            found = instance_of(api, name)
            uuid, address = found["uuid"], api.snapshot(found["uuid"]).get("ssh_command")
        if found.get("status") in OFF:
            raise MachineError(f"{name} is not running, so nobody can log in; start it: launch autodl up")
        return door_of(str(address), str(uuid)) if address else None

    return wait_for_door(look, name)


def ssh_command(name: str, *, elastic: bool, dry_run: bool) -> None:
    """Become ssh."""
    door(name, elastic=elastic).enter(dry_run=dry_run)


def logs_command(name: str, tail: int, *, elastic: bool, follow: bool, dry_run: bool) -> None:
    """The file that launch/autodl/start.sh writes."""
    door(name, elastic=elastic).enter(f"tail -n {tail}{' -F' if follow else ''} {RUN_LOG}", dry_run=dry_run)


def sync_command(name: str, folder: Path, remote: str, *, elastic: bool, to_machine: bool, dry_run: bool) -> None:
    """Copy by rsync through its sshd."""
    sync_by_door(door(name, elastic=elastic), folder, remote, outward=to_machine, dry_run=dry_run)


def image_command(name: str, image_name: str, *, dry_run: bool) -> None:
    """Save an image."""
    api = AutoDL.of()
    instance = instance_of(api, name)
    if dry_run:
        console.say(f"would save the system disk of {instance['uuid']} as {image_name}; its data disk is not in it")
        return
    saved = api.save_image(instance["uuid"], image_name)
    console.say(f"image {saved} ({image_name}) is being saved; up --image {saved} when it is finished")


def down_command(name: str, *, elastic: bool, release: bool, dry_run: bool) -> None:
    """Shut down, or delete."""
    api = AutoDL.of()
    found = deployment_of(api, name)[0] if elastic else instance_of(api, name)
    uuid = str(found["uuid"])
    is_up = found.get("status") not in OFF
    if dry_run:
        console.say(f"would shut down {uuid}{', and delete it with its disk' if release else ''}")
        return
    if is_up:
        (api.stop_deployment if elastic else api.power_off)(uuid)
        console.say(f"{uuid} is shut down")
    if release:
        (api.delete_deployment if elastic else api.release)(uuid)
        console.say(f"{uuid} is deleted, with its disk")
