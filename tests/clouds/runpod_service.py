"""RunPod on 127.0.0.1: REST v2 by its OpenAPI of 2026-09, and the two mutations of spot pods.

Bodies are checked as strictly as the real one does: an unknown field is a 422 that names it. A pod can be a process:
`runner` starts what it was given to run, and a spot pod is taken away by killing that.
"""

import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
from loopback import Asked, Loopback

KEY = "rpa_loopback_4711"
H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"
FIELDS = {
    "name", "image", "gpu", "cloud", "disk", "ports", "env", "startSsh", "args", "dataCenterIds", "mounts", "registry",
}  # fmt: skip
GPU_FIELDS = {"id", "count", "minCudaVersion"}
SPOT_FIELDS = {
    "bidPerGpu", "cloudType", "gpuTypeId", "gpuCount", "name", "imageName", "containerDiskInGb", "volumeInGb",
    "networkVolumeId", "volumeMountPath", "dataCenterId", "dockerArgs", "ports", "env", "startSsh",
}  # fmt: skip
Runner = Callable[[dict[str, Any]], "subprocess.Popen[bytes]"]


def problem(status: int, title: str, detail: str, *errors: str) -> tuple[int, dict[str, Any]]:
    """RFC 9457, as the API has it."""
    return status, {"title": title, "status": status, "detail": detail, **({"errors": list(errors)} if errors else {})}


class RunPodService(Loopback):
    """One account: two GPU types, one volume in EU-RO-1."""

    def __init__(self, runner: Runner | None = None) -> None:
        super().__init__()
        self.runner = runner
        self.pods: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.full: set[str] = set()
        self.keys = ["ssh-ed25519 AAAA me"]
        self.log_lines: list[str] = ["step 10", "step 20"]
        self.prices = {H100: 2.5, A100: 1.5}
        self.surcharge = 0.0
        self.data_center = "EU-RO-1"

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.authorization != f"Bearer {KEY}":
            return problem(401, "Unauthorized", "invalid bearer token")
        path = asked.path.strip("/").split("/")
        match asked.method, *path:
            case "POST", "graphql":
                return self._graphql(asked.body)
            case "GET", "v2", "catalog", "gpus":
                assert asked.query["product"] == "POD", asked.query
                return 200, {"gpus": [self._type(name) for name in self.prices]}
            case "GET", "v2", "network-volumes", volume:
                if volume != "vol1":
                    return problem(404, "Not Found", "resource not found")
                return 200, {"id": volume, "name": "data", "size": 200, "dataCenter": "EU-RO-1", "type": "STANDARD"}
            case "GET", "v2", "account", "ssh-keys":
                return 200, {"keys": self.keys}
            case "GET", "v2", "pods":
                return 200, {"pods": list(self.pods.values())}
            case "POST", "v2", "pods":
                return self._create(asked.body)
            case "GET", "v2", "pods", pod_id, "logs":
                lines = [f'data: {{"source": "container", "line": "{line}", "ts": "2026-11-24T00:00:00Z"}}\n\n'
                         for line in self.log_lines]  # fmt: skip
                return 200, "".join(lines)
            case _, "v2", "pods", pod_id, *rest:
                if pod_id not in self.pods:
                    return problem(404, "Not Found", "resource not found")
                return self._pod(asked, pod_id, rest)
        return problem(404, "Not Found", f"path not found: {asked.method} {asked.path}")

    def _pod(self, asked: Asked, pod_id: str, rest: list[str]) -> tuple[int, Any]:
        pod = self.pods[pod_id]
        if asked.method == "GET":
            return 200, pod
        if asked.method == "DELETE":
            self._end(pod_id)
            del self.pods[pod_id]
            return 204, None
        assert (asked.method, rest) == ("POST", ["action"]), asked
        action = asked.body["action"]
        if action not in pod["actions"]:
            return problem(400, "Bad Request", f"{action} is not possible in {pod['status']}")
        if action == "stop":
            self._stopped(pod_id)
        elif action == "start":
            self._started(pod)
        return 200, pod

    def _type(self, name: str) -> dict[str, Any]:
        level = "NONE" if name in self.full else "HIGH"
        return {
            "id": name, "name": name, "pool": None, "manufacturer": "NVIDIA", "memory": 80, "secure": True,
            "community": True, "price": {"secure": self.prices[name], "community": self.prices[name] / 2},
            "maxCount": {"secure": 8, "community": 4}, "availability": level,
            "dataCenters": [{"id": "EU-RO-1", "name": "Romania", "availability": level}],
        }  # fmt: skip

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        wrong = [f"additional properties '{name}' not allowed" for name in sorted(set(body) - FIELDS)]
        wrong += [f"gpu: additional properties '{name}'" for name in sorted(set(body.get("gpu", {})) - GPU_FIELDS)]
        wrong += [f"missing property '{name}'" for name in ("name", "image", "gpu") if name not in body]
        if wrong:
            return problem(422, "Unprocessable Entity", "Request validation failed.", *wrong)
        if body["gpu"]["id"] in self.full:
            return problem(400, "Bad Request", "There are no instances currently available")
        return 201, self._add(body, self.prices[body["gpu"]["id"]] * body["gpu"]["count"] + self.surcharge)

    def _add(self, body: dict[str, Any], cost: float) -> dict[str, Any]:
        pod_id = f"pod{len(self.pods) + len(self.asked)}"
        pod = {
            "id": pod_id, "name": body["name"], "image": body["image"], "args": body.get("args", ""),
            "disk": body["disk"], "ports": body["ports"], "env": body["env"], "mounts": body.get("mounts", {}),
            "gpu": {**body["gpu"], "vcpuCount": 16, "memory": 128}, "cloud": body["cloud"], "cost": cost,
            "dataCenterId": self.data_center, "locked": False, "template": None,
        }  # fmt: skip
        self.pods[pod_id] = pod
        self._started(pod)
        return pod

    def _started(self, pod: dict[str, Any]) -> None:
        direct = {"host": "127.0.0.1", "port": 34446, "username": "root", "command": "ssh root@127.0.0.1 -p 34446"}
        pod |= {
            "status": "RUNNING",
            "actions": ["stop", "restart", "terminate"],
            "ssh": {"proxy": None, "direct": direct},
        }
        pod["runtime"] = {"uptime": 3600, "gpus": [{"util": 94, "memoryUtil": 60}], "ports": []}
        if self.runner:
            self.processes[pod["id"]] = self.runner(pod)

    def _stopped(self, pod_id: str) -> None:
        self._end(pod_id)
        self.pods[pod_id] |= {"status": "EXITED", "actions": ["start", "terminate"], "runtime": None, "cost": 0.0}

    def take_away(self, pod_id: str) -> None:
        """As when someone bids more: all its processes are gone."""
        with self.lock:
            self._stopped(pod_id)

    def _end(self, pod_id: str) -> None:
        process = self.processes.pop(pod_id, None)
        if process is None or process.poll() is not None:
            return
        tree = psutil.Process(process.pid)  # torchrun's ranks have sessions of their own
        for one in [tree, *tree.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()

    def _graphql(self, body: dict[str, Any]) -> tuple[int, Any]:
        wanted = body["variables"]["input"]
        if "podBidResume" in body["query"]:
            assert set(wanted) == {"podId", "bidPerGpu", "gpuCount"}, wanted
            pod = self.pods[wanted["podId"]]
            if pod["gpu"]["id"] in self.full:
                return 200, {
                    "errors": [{"message": "There are not enough free GPUs"}],
                    "data": None,
                }
            self._started(pod)
            return 200, {"data": {"podBidResume": {"id": pod["id"], "desiredStatus": "RUNNING", "costPerHr": 1.0}}}
        assert "podRentInterruptable" in body["query"], body
        assert set(wanted) == SPOT_FIELDS, set(wanted) ^ SPOT_FIELDS
        if wanted["gpuTypeId"] in self.full:
            return 200, {"errors": [{"message": "There are no longer any instances available"}], "data": None}
        made = self._add(
            {
                "name": wanted["name"], "image": wanted["imageName"], "args": wanted["dockerArgs"],
                "gpu": {"id": wanted["gpuTypeId"], "count": wanted["gpuCount"]}, "cloud": wanted["cloudType"],
                "disk": wanted["containerDiskInGb"], "ports": wanted["ports"].split(","),
                "env": {pair["key"]: pair["value"] for pair in wanted["env"]},
                "mounts": {"network": [{"volumeId": wanted["networkVolumeId"], "path": wanted["volumeMountPath"]}]},
            },
            wanted["bidPerGpu"] * wanted["gpuCount"],
        )  # fmt: skip
        return 200, {"data": {"podRentInterruptable": {"id": made["id"], "desiredStatus": "RUNNING", "costPerHr": 1.0}}}
