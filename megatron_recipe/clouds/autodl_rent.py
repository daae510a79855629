"""Rent on AutoDL: an instance (Pro), or for companies an elastic deployment of one container."""

from dataclasses import dataclass
from typing import Any

from megatron_recipe import console
from megatron_recipe.clouds.autodl_api import PER_YUAN, AutoDL
from megatron_recipe.clouds.web import CloudError
from megatron_recipe.errors import ConfigError

SPECS = {
    "h800_80": "h800",
    "pro6000_96": "pro6000-p",
    "4090_48": "v-48g",
    "3090_48": "v-48g-350w",
    "4080_32": "v-32g-p",
    "5090_32": "5090-p",
}
"""GPU of an instance (Pro) → the id in the appendix of its API; deployments take the names of the web page."""
MOST_GPUS = 4
REFUSED = 400


@dataclass(frozen=True)
class InstanceWish:
    """What to rent. `max_price` in yuan an hour for the whole machine; 0 is no limit."""

    name: str
    image: str
    gpus: tuple[str, ...]
    count: int = 1
    data_centers: tuple[str, ...] = ()
    command: str = ""
    max_price: float = 0.0
    cuda_from: int = 128
    """Lowest CUDA version of the host's driver, 128 for 12.8."""
    system_disk_gb: int = 0
    """Added to the 30 GB of a system disk."""

    def instance_body(self, gpu: str) -> dict[str, Any]:
        """The body of …/instance/pro/create."""
        body: dict[str, Any] = {
            "req_gpu_amount": self.count,
            "expand_system_disk_by_gb": self.system_disk_gb,
            "gpu_spec_uuid": SPECS.get(gpu, gpu),
            "image_uuid": self.image,
            "cuda_v_from": self.cuda_from,
            "instance_name": self.name,
        }
        if self.data_centers:
            body["data_center_list"] = list(self.data_centers)
        if self.command:
            body["start_command"] = self.command
        return body

    def deployment_body(self) -> dict[str, Any]:
        """The body of …/deployment: a job of one container, which ends when its command does."""
        return {
            "name": self.name,
            "deployment_type": "Job",
            "replica_num": 1,
            "parallelism_num": 1,
            "reuse_container": True,
            "reuse_container_scope": "deployment",
            "container_template": {
                "dc_list": list(self.data_centers),
                "gpu_name_set": list(self.gpus),
                "gpu_num": self.count,
                "cuda_v_from": self.cuda_from,
                "cuda_v_to": 999,
                "cpu_num_from": 1,
                "cpu_num_to": 1000,
                "memory_size_from": 1,
                "memory_size_to": 4096,
                "price_from": 0,
                "price_to": round(self.max_price * PER_YUAN) or 1_000_000,
                "image_uuid": self.image,
                "cmd": self.command,
            },
        }


def rent_instance(api: AutoDL, wish: InstanceWish) -> str:
    """Rent the first GPU of the list that can be had; returns the instance's id.

    Raises CloudError where nothing is to be had, ConfigError where the wish cannot be.
    """
    if not 1 <= wish.count <= MOST_GPUS:
        raise ConfigError(f"--gpus {wish.count}: instances (Pro) have 1 to {MOST_GPUS}")
    refusals = []
    for gpu in wish.gpus:
        try:
            uuid = _create_once(api, wish, gpu)
        except CloudError as error:
            if error.status != REFUSED:
                raise
            refusals.append(f"{gpu}: {error}")
            continue
        price = float(api.snapshot(uuid).get("payg_price") or 0) / PER_YUAN
        if wish.max_price and price > wish.max_price:
            api.power_off(uuid)
            api.release(uuid)
            refusals.append(f"{gpu}: costs {price:.2f} yuan/h, above --max-price {wish.max_price:g}; given back")
            continue
        console.say(f"instance {uuid}: {wish.count} × {gpu}, {price:.2f} yuan/h")
        return uuid
    raise CloudError(
        f"AutoDL has none of these now: {' | '.join(refusals)}. Allow more with --gpu or --data-center, or try again "
        "later",
        REFUSED,
    )


def _create_once(api: AutoDL, wish: InstanceWish, gpu: str) -> str:
    """After a fault without a clear answer, look whether an instance was made, so that none is paid for twice."""
    for attempt in range(3):
        try:
            return api.create_instance(wish.instance_body(gpu))
        except CloudError as error:
            if 0 < error.status < 500:
                raise
            if (made := api.instance_named(wish.name)) is not None:
                return str(made["uuid"])
            if attempt == 2:
                raise
            console.say(f"{error}; no instance was made: trying again")
            api.web.sleep(api.web.pause_seconds * 2**attempt)
    raise AssertionError("the loop returns or raises")


def begin_deployment(api: AutoDL, wish: InstanceWish) -> str:
    """Begin the deployment; returns its id."""
    if not wish.data_centers:
        raise ConfigError("a deployment needs --data-center, such as westDC2, beijingDC1 or neimengDC1")
    if not wish.command:
        raise ConfigError("a deployment needs --run: its container ends when its command does")
    return api.create_deployment(wish.deployment_body())
