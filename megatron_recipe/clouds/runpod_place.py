"""Rent a pod: one of the GPU types that were allowed, in one of the data centers, below a price.

The API places one type in one call, so the candidates are tried here, in the user's order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from megatron_recipe import console
from megatron_recipe.clouds.runpod_api import RunPod
from megatron_recipe.clouds.web import CloudError
from megatron_recipe.errors import ConfigError

TYPES = {
    "h200_141": ("NVIDIA H200",),
    "h100_80": ("NVIDIA H100 80GB HBM3", "NVIDIA H100 NVL", "NVIDIA H100 PCIe"),
    "a100_80": ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"),
    "4090_24": ("NVIDIA GeForce RTX 4090",),
}
"""The names that `plan --gpu` uses, and RunPod's own."""
NO_CAPACITY = (400, 403, 404)
"""Codes after which another candidate may do: its documentation's table of createPod."""
SSH = "22/tcp"


@dataclass(frozen=True)
class PodWish:
    """What to rent. Prices are in USD an hour for the whole pod; 0 is no limit."""

    name: str
    image: str
    gpus: tuple[str, ...]
    count: int = 1
    cloud: str = "SECURE"
    volume: str = ""
    mount: str = "/workspace"
    data_centers: tuple[str, ...] = ()
    disk_gb: int = 50
    command: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[str, ...] = (SSH, "6006/http")
    registry: str = ""
    min_cuda: str = ""
    max_price: float = 0.0

    def gpu_types(self) -> list[str]:
        """RunPod's names, in order of preference."""
        return [name for gpu in self.gpus for name in TYPES.get(gpu, (gpu,))]

    def body(self, gpu_type: str, data_centers: tuple[str, ...]) -> dict[str, Any]:
        """The body of POST /v2/pods."""
        gpu: dict[str, Any] = {"id": gpu_type, "count": self.count}
        if self.min_cuda:
            gpu["minCudaVersion"] = self.min_cuda
        body: dict[str, Any] = {
            "name": self.name,
            "image": self.image,
            "gpu": gpu,
            "cloud": self.cloud,
            "disk": self.disk_gb,
            "ports": list(self.ports),
            "env": dict(self.env),
            "startSsh": True,
        }
        if self.command:
            body["args"] = self.command
        if data_centers:
            body["dataCenterIds"] = list(data_centers)
        if self.volume:
            body["mounts"] = {"network": [{"volumeId": self.volume, "path": self.mount}]}
        if self.registry:
            body["registry"] = self.registry
        return body


@dataclass(frozen=True)
class Candidate:
    """One attempt; `price` in USD an hour for all GPUs."""

    gpu_type: str
    data_centers: tuple[str, ...]
    price: float


def place(api: RunPod, wish: PodWish, rent: Callable[[Candidate], dict[str, Any]] | None = None) -> dict[str, Any]:
    """Rent the first candidate that can be had; returns the pod.

    rent: how (spot pods are rented in another way).

    Raises:
        ConfigError: a GPU type is not known, or the volume lies elsewhere.
        CloudError: nothing is to be had, with what was tried.
    """
    data_centers = allowed_data_centers(api, wish)
    rent = rent or (lambda candidate: api.create(wish.body(candidate.gpu_type, candidate.data_centers)))
    refusals = []
    for candidate in candidates(api, wish, data_centers):
        if wish.max_price and candidate.price > wish.max_price:
            refusals.append(
                f"{candidate.gpu_type}: {candidate.price:.2f} USD/h is above --max-price {wish.max_price:g}"
            )
            continue
        try:
            pod = _rent_once(api, wish, candidate, rent)
        except CloudError as error:
            if error.status not in NO_CAPACITY:
                raise
            refusals.append(f"{candidate.gpu_type}: {error}")
            continue
        # from another reading of the price than the catalog's, and with discounts and surcharges
        if wish.max_price and pod.get("cost", 0) > wish.max_price:
            api.delete(pod["id"])
            refusals.append(f"{candidate.gpu_type}: costs {pod['cost']:.2f} USD/h, above --max-price; given back")
            continue
        # the API calls them preferred, and does not say that it keeps to them
        if data_centers and pod.get("dataCenterId") not in (None, *data_centers):
            api.delete(pod["id"])
            refusals.append(f"{candidate.gpu_type}: was placed in {pod['dataCenterId']}; given back")
            continue
        return pod
    where = f" in {', '.join(data_centers)}" if data_centers else ""
    raise CloudError(
        f"RunPod has none of these for {wish.count} GPU(s){where} now: {' | '.join(refusals)}. Allow more with --gpu, "
        "--data-center (without --volume), --cloud community or a higher --max-price, or try again later",
        NO_CAPACITY[0],
    )


def allowed_data_centers(api: RunPod, wish: PodWish) -> tuple[str, ...]:
    """Where the pod may run: a network volume binds it to its own data center."""
    if not wish.volume:
        return wish.data_centers
    own = str(api.volume(wish.volume)["dataCenter"])
    if wish.data_centers and own not in wish.data_centers:
        raise ConfigError(
            f"--volume {wish.volume} lies in {own}, and pods reach volumes of their own data center only; leave out "
            f"--data-center, or make a volume in {wish.data_centers[0]}"
        )
    return (own,)


def candidates(api: RunPod, wish: PodWish, data_centers: tuple[str, ...]) -> list[Candidate]:
    """The types in the user's order; those that the catalog sees nothing of come last, since it may be behind."""
    catalog = {gpu["id"]: gpu for gpu in api.gpu_types(wish.count, wish.cloud)}
    unknown = [name for name in wish.gpu_types() if name not in catalog]
    if len(unknown) == len(wish.gpu_types()):
        raise ConfigError(
            f"--gpu {', '.join(wish.gpus)}: not known to RunPod; take {', '.join(TYPES)} or one of its own: "
            f"{', '.join(sorted(catalog))}"
        )
    found = []
    for name in wish.gpu_types():
        if name in catalog:
            price = float(catalog[name]["price"][wish.cloud.lower()]) * wish.count
            found.append(Candidate(name, data_centers, price))
    return sorted(found, key=lambda one: not _is_there(catalog[one.gpu_type], data_centers))


def _is_there(gpu: Mapping[str, Any], data_centers: tuple[str, ...]) -> bool:
    if not data_centers:
        return gpu.get("availability", "NONE") != "NONE"
    stock = {place["id"]: place["availability"] for place in gpu.get("dataCenters", [])}
    return any(stock.get(name, "NONE") != "NONE" for name in data_centers)


def _rent_once(
    api: RunPod, wish: PodWish, candidate: Candidate, rent: Callable[[Candidate], dict[str, Any]]
) -> dict[str, Any]:
    """Rent; after a fault without a clear answer, look whether a pod was made, so that none is paid for twice."""
    for attempt in range(3):
        try:
            return rent(candidate)
        except CloudError as error:
            if 0 < error.status < 500:
                raise
            if (pod := api.named(wish.name)) is not None:
                return pod
            if attempt == 2:
                raise
            console.say(f"{error}; no pod was made: trying again")
            api.web.sleep(api.web.pause_seconds * 2**attempt)
    raise AssertionError("the loop returns or raises")
