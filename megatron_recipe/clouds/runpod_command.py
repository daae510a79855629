"""What `launch runpod` does."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe import console
from megatron_recipe.clouds.environment import environment_for, shown
from megatron_recipe.clouds.remote_shell import Door, sync_by_door, wait_for_door, words_of
from megatron_recipe.clouds.runpod_api import RunPod
from megatron_recipe.clouds.runpod_place import SSH, Candidate, PodWish, candidates, place
from megatron_recipe.clouds.runpod_spot import Keeper, rent, resume
from megatron_recipe.errors import ConfigError, MachineError

CLOUDS = ("secure", "community")
COMING = ("PROVISIONING", "STARTING", "RUNNING")
"""Statuses in which sshd runs, or will."""


@dataclass(frozen=True)
class Order:
    """The options of `up`."""

    image: str
    gpus: Sequence[str]
    run: str
    count: int
    volume: str
    mount: str
    data_centers: Sequence[str]
    cloud: str
    disk_gb: int
    env: Sequence[str]
    ports: Sequence[str]
    registry: str
    min_cuda: str
    max_price: float
    bid: float
    keep: bool
    idle_minutes: float
    name: str

    def wish(self) -> PodWish:
        """Raises ConfigError where the options don't go together."""
        if self.cloud not in CLOUDS:
            raise ConfigError(f"--cloud {self.cloud}: {' or '.join(CLOUDS)}")
        if self.keep and not self.bid:
            raise ConfigError("--keep goes with --bid: other pods are not taken away")
        if self.bid and not self.volume:
            raise ConfigError("--bid needs --volume: what a spot pod has on its own disk goes with it")
        if self.bid and self.max_price and self.bid * self.count > self.max_price:
            raise ConfigError(
                f"--bid {self.bid:g} for {self.count} GPU(s) is {self.bid * self.count:g} USD/h, above --max-price "
                f"{self.max_price:g}; lower the one or raise the other"
            )
        return PodWish(
            name=self.name, image=self.image, gpus=tuple(self.gpus), count=self.count, cloud=self.cloud.upper(),
            volume=self.volume, mount=self.mount, data_centers=tuple(self.data_centers), disk_gb=self.disk_gb,
            command=command_of(self.run, self.idle_minutes), env=environment_for(self.env, os.environ),
            ports=(SSH, "6006/http", *self.ports), registry=self.registry, min_cuda=self.min_cuda,
            max_price=0.0 if self.bid else self.max_price,
        )  # fmt: skip


def command_of(run: str, idle_minutes: float) -> str:
    """What the container runs; empty is the image's own command, which waits."""
    return f"megatron-recipe launch run --idle-minutes {idle_minutes:g} {shlex.join(words_of(run))}" if run else ""


def up_command(order: Order, *, dry_run: bool) -> None:
    """Rent a pod, or start the one of this name."""
    wish = order.wish()
    api = RunPod.of()
    pod = api.named(order.name)
    if dry_run:
        say_plan(api, wish, order, pod)
        return
    if not api.ssh_keys():
        console.warn("no ssh key is registered with RunPod: the pod lets nobody in (console.runpod.io → Settings)")
    if pod is None:
        pod = place(api, wish, _spot_renter(api, wish, order.bid) if order.bid else None)
        gpu = pod.get("gpu") or {}
        console.say(
            f"pod {pod['id']}: {gpu.get('count', wish.count)} × {gpu.get('id', wish.gpus[0])} in "
            f"{pod.get('dataCenterId') or 'a data center to be chosen'}, {pod.get('cost', 0):.2f} USD/h"
        )
    elif pod["status"] == "EXITED" and not order.keep:
        if order.bid:
            resume(api, pod["id"], wish, order.bid)
        else:
            api.act(pod["id"], "start")
        console.say(f"pod {pod['id']} is started again, with the image and the command that it was made with")
    elif pod["status"] != "EXITED":
        console.say(f"pod {pod['id']} is there already ({pod['status']}); to make another: --name")
    if order.keep:
        Keeper(api, wish, order.bid).keep(pod["id"])


def _spot_renter(api: RunPod, wish: PodWish, bid: float) -> Any:
    return lambda candidate: rent(api, wish, bid, candidate)


def say_plan(api: RunPod, wish: PodWish, order: Order, pod: dict[str, Any] | None) -> None:
    """What `up` would send, in its order."""
    if pod is not None:
        console.say(f"pod {pod['id']} of this name is there ({pod['status']}): it would be started, or left as it is")
        return
    own = (str(api.volume(wish.volume)["dataCenter"]),) if wish.volume else wish.data_centers
    found: list[Candidate] = candidates(api, wish, own)
    for candidate in found:
        how = f"a bid of {order.bid:g} USD/h and GPU" if order.bid else f"{candidate.price:.2f} USD/h"
        console.say(f"would ask for {wish.count} × {candidate.gpu_type}, {how}")
    body = wish.body(found[0].gpu_type, own)
    print(json.dumps({**body, "env": shown(wish.env)}, indent=1, ensure_ascii=False))


def pod_of(api: RunPod, name: str) -> dict[str, Any]:
    """The pod of this name. Raises MachineError where there is none."""
    pod = api.named(name)
    if pod is None:
        others = ", ".join(sorted(one["name"] for one in api.pods())) or "none"
        raise MachineError(f"RunPod has no pod named {name}; its pods are: {others}. Rent one: launch runpod up")
    return pod


def status_command(name: str) -> None:
    """Print one line for each fact; never the environment, which holds secrets."""
    api = RunPod.of()
    pod = pod_of(api, name)
    pod = api.pod(pod["id"]) or pod
    gpu, runtime = pod.get("gpu") or {}, pod.get("runtime") or {}
    busy = ", ".join(f"{one.get('util', 0)} %" for one in runtime.get("gpus") or []) or "unknown"
    rows = {
        "pod": f"{pod['id']} ({pod['name']})",
        "status": pod["status"],
        "gpus": f"{gpu.get('count', 0)} × {gpu.get('id', 'none')}, busy: {busy}",
        "where": f"{pod.get('dataCenterId') or 'not placed yet'}, {str(pod.get('cloud', '')).lower()} cloud",
        "image": pod.get("image"),
        "cost": f"{pod.get('cost', 0):.2f} USD/h",
        "up for": f"{runtime.get('uptime', 0) / 3600:.1f} h",
        "TensorBoard": f"https://{pod['id']}-6006.proxy.runpod.net",
    }
    for label, value in rows.items():
        print(f"{label:12} {value}")


def logs_command(name: str, tail: int, *, follow: bool) -> None:
    """Print the container's lines."""
    api = RunPod.of()
    for line in api.logs(pod_of(api, name)["id"], tail, follow=follow):
        print(line, flush=True)


def door(name: str) -> Door:
    """The pod's own sshd, which is waited for: RunPod's proxy copies no files. Raises MachineError where it is off."""
    api = RunPod.of()

    def look() -> Door | None:
        pod = pod_of(api, name)
        if pod["status"] not in COMING:
            raise MachineError(f"pod {pod['id']} is {pod['status']}; start it: launch runpod up")
        direct = (pod.get("ssh") or {}).get("direct")
        return Door(str(direct["username"]), str(direct["host"]), int(direct["port"]), pod["id"]) if direct else None

    return wait_for_door(look, f"pod {name}")


def ssh_command(name: str, *, dry_run: bool) -> None:
    """Become ssh."""
    door(name).enter(dry_run=dry_run)


def sync_command(name: str, folder: Path, remote: str, *, to_pod: bool, dry_run: bool) -> None:
    """Copy by rsync through the pod's sshd."""
    sync_by_door(door(name), folder, remote, outward=to_pod, dry_run=dry_run)


def down_command(name: str, *, terminate: bool, dry_run: bool) -> None:
    """Stop or delete."""
    api = RunPod.of()
    pod = pod_of(api, name)
    is_safe = bool((pod.get("mounts") or {}).get("network"))
    if terminate:
        rest = "its volume stays" if is_safe else "all its data is lost"
        if dry_run:
            console.say(f"would delete pod {pod['id']}: {rest}")
            return
        api.delete(pod["id"])
        console.say(f"pod {pod['id']} is deleted: {rest}")
        return
    if dry_run:
        console.say(f"would stop pod {pod['id']}")
        return
    if pod["status"] != "EXITED":
        api.act(pod["id"], "stop")
    console.say(f"pod {pod['id']} is stopped: its disk stays, and is paid for until down --terminate")
