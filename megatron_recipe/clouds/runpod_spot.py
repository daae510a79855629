"""Spot pods of RunPod: cheaper, and taken away within five seconds when someone bids more.

REST v2 has none, so these go through GraphQL (`podRentInterruptable`, `podBidResume`), which RunPod retires in early
2027; everything else about such a pod goes through REST. A pod that is taken away is stopped, and its network volume
stays: `keep` starts it again, or rents another one with the same volume, and the run in it continues.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from megatron_recipe import console
from megatron_recipe.clouds.runpod_api import RunPod
from megatron_recipe.clouds.runpod_place import Candidate, PodWish, place
from megatron_recipe.clouds.secrets import redact
from megatron_recipe.clouds.web import CloudError

RENT = """mutation Rent($input: PodRentInterruptableInput!) {
  podRentInterruptable(input: $input) { id desiredStatus costPerHr }
}"""
RESUME = """mutation Resume($input: PodBidResumeInput!) {
  podBidResume(input: $input) { id desiredStatus costPerHr }
}"""
SHORT_LIFE_SECONDS = 600.0
SHORT_LIVES = 3
"""So many pods in a row that lived less than that end the keeping: something else than a bid is wrong."""


def rent(api: RunPod, wish: PodWish, bid: float, candidate: Candidate) -> dict[str, Any]:
    """Rent a spot pod with `bid`, in USD an hour and GPU; returns it as REST describes it."""
    wanted = {
        "bidPerGpu": bid,
        "cloudType": wish.cloud,
        "gpuTypeId": candidate.gpu_type,
        "gpuCount": wish.count,
        "name": wish.name,
        "imageName": wish.image,
        "containerDiskInGb": wish.disk_gb,
        "volumeInGb": 0,
        "networkVolumeId": wish.volume,
        "volumeMountPath": wish.mount,
        "dataCenterId": candidate.data_centers[0],  # of the volume
        "dockerArgs": wish.command,
        "ports": ",".join(wish.ports),
        "env": [{"key": key, "value": value} for key, value in wish.env.items()],
        "startSsh": True,
        **({"containerRegistryAuthId": wish.registry} if wish.registry else {}),
    }
    made = _mutate(api, RENT, "podRentInterruptable", wanted)
    return api.pod(made["id"]) or {"id": made["id"], "name": wish.name, "status": "PROVISIONING", "cost": 0.0}


def resume(api: RunPod, pod_id: str, wish: PodWish, bid: float) -> None:
    """Start a pod that was taken away, where it was."""
    _mutate(api, RESUME, "podBidResume", {"podId": pod_id, "bidPerGpu": bid, "gpuCount": wish.count})


def _mutate(api: RunPod, query: str, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """GraphQL answers 200 also to what it refuses."""
    answer = api.web.request("POST", "/graphql", {"query": query, "variables": {"input": wanted}}, again=False)
    if answer.get("errors") or not (answer.get("data") or {}).get(name):
        told = "; ".join(str(error.get("message", "")) for error in answer.get("errors", [])) or "nothing to be had"
        raise CloudError(f"RunPod: no spot pod: {redact(told, os.environ, api.web.key)[:300]}", 400)
    return dict(answer["data"][name])


@dataclass
class Keeper:
    """Keeps one spot pod running until its run is over.

    A run that is over terminates its pod (budget.at_end=terminate); a pod that was taken away is stopped.
    """

    api: RunPod
    wish: PodWish
    bid: float
    every_seconds: float = 20.0
    clock: Callable[[], float] = time.monotonic

    def keep(self, pod_id: str) -> None:
        """Returns when the pod was terminated. Raises CloudError where keeping it makes no sense."""
        began, short_lives = self.clock(), 0
        while True:
            pod = self.api.pod(pod_id)
            if pod is None:
                console.say(f"pod {pod_id} was terminated: its run is over, or you ended it")
                return
            if pod["status"] == "ERROR":
                raise CloudError(f"pod {pod_id} is in status ERROR; see: megatron-recipe launch runpod logs")
            if pod["status"] == "EXITED":
                lived = self.clock() - began
                short_lives = short_lives + 1 if lived < SHORT_LIFE_SECONDS else 0
                if short_lives >= SHORT_LIVES:
                    raise CloudError(
                        f"the pod was stopped {SHORT_LIVES} times within {SHORT_LIFE_SECONDS / 60:g} minutes: raise "
                        "--bid, or look at its log; your data is on the volume"
                    )
                console.say(f"pod {pod_id} was taken away after {lived / 60:.0f} minutes; getting it back")
                pod_id = self._again(pod_id)
                began = self.clock()
            self.api.web.sleep(self.every_seconds)

    def _again(self, pod_id: str) -> str:
        """Where it was, else wherever the volume reaches; waits as long as there is nothing."""
        pause = self.every_seconds
        while True:
            try:
                resume(self.api, pod_id, self.wish, self.bid)
                return pod_id
            except CloudError as error:
                if error.status in (401, 402):
                    raise
                console.say(f"{error}; trying another machine")
            try:
                pod = place(self.api, self.wish, lambda one: rent(self.api, self.wish, self.bid, one))
            except CloudError as error:
                if error.status in (401, 402, 422):
                    raise
                console.say(f"{error}; trying again in {pause:.0f} s")
                self.api.web.sleep(pause)
                pause = min(pause * 2, 600.0)
                continue
            self.api.delete(pod_id)
            return str(pod["id"])
