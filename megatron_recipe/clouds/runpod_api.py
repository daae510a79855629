"""RunPod's REST API v2, as documented (https://docs.runpod.io/api-reference-v2, OpenAPI 2.0.0 of 2026-09).

Not through the `runpod` client: its version 1.12 speaks GraphQL alone, which RunPod retires in early 2027, and has
neither logs nor network volumes in pods. REST v1 (rest.runpod.io) is retired on 2026-12-01.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from megatron_recipe.clouds.secrets import read_secret
from megatron_recipe.clouds.web import CloudError, Web, base_address

KEYS_PAGE = "console.runpod.io → Settings → API keys"
USUAL_ADDRESS = "https://api.runpod.io"
ADDRESS = "RUNPOD_API_BASE_URL"
KEY = "RUNPOD_API_KEY"
NOT_FOUND = 404
QUIET_SECONDS = 3.0
"""After so long without a line the logs up to now have been told: the API gives no sign of its own."""
FOLLOW_SECONDS = 300.0


@dataclass
class RunPod:
    """The pods of one account. Methods raise CloudError."""

    web: Web

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "RunPod":
        """With the key of the environment. Raises ConfigError where there is none."""
        key = read_secret(KEY, environment, f"make one: {KEYS_PAGE}, then export {KEY}=… (or {KEY}_FILE)")
        address = base_address(ADDRESS, USUAL_ADDRESS, environment)
        return cls(Web("RunPod", address, key, "Bearer {}".format, KEYS_PAGE))

    def gpu_types(self, count: int, cloud: str) -> list[dict[str, Any]]:
        """The catalog: id, price.{secure,community} in USD an hour for one GPU, availability, dataCenters."""
        query = {"include": "AVAILABILITY", "product": "POD", "count": count, "cloud": cloud}
        return list(self.web.request("GET", "/v2/catalog/gpus", query=query)["gpus"])

    def volume(self, volume_id: str) -> dict[str, Any]:
        """A network volume: id, name, size in GB, dataCenter."""
        return dict(self.web.request("GET", f"/v2/network-volumes/{volume_id}"))

    def ssh_keys(self) -> list[str]:
        """The account's public keys, which a pod with startSsh is given."""
        return list(self.web.request("GET", "/v2/account/ssh-keys")["keys"])

    def pods(self) -> list[dict[str, Any]]:
        """All pods of the account."""
        return list(self.web.request("GET", "/v2/pods")["pods"])

    def named(self, name: str) -> dict[str, Any] | None:
        """The pod of this name that is not deleted; the API itself finds by id only."""
        found = [pod for pod in self.pods() if pod["name"] == name and pod["status"] != "TERMINATED"]
        return found[0] if found else None

    def pod(self, pod_id: str) -> dict[str, Any] | None:
        """A pod; None where it is deleted."""
        try:
            pod = dict(self.web.request("GET", f"/v2/pods/{pod_id}"))
        except CloudError as error:
            if error.status != NOT_FOUND:
                raise
            return None
        return None if pod["status"] == "TERMINATED" else pod

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Rent a pod. A fault is not repeated here: the pod may be there all the same."""
        return dict(self.web.request("POST", "/v2/pods", body, again=False))

    def act(self, pod_id: str, action: str) -> None:
        """`start`, `stop` or `restart`."""
        self.web.request("POST", f"/v2/pods/{pod_id}/action", {"action": action})

    def delete(self, pod_id: str) -> None:
        """Terminate a pod with its disk; a network volume stays. One that is gone is fine."""
        try:
            self.web.request("DELETE", f"/v2/pods/{pod_id}")
        except CloudError as error:
            if error.status != NOT_FOUND:
                raise

    def logs(self, pod_id: str, tail: int, *, follow: bool) -> Iterator[str]:
        """Lines of the container; a stream of server-sent events, each of {source, line, ts}."""
        cursor: dict[str, str] = {}
        while True:
            query = {"source": "container", "tail": tail}
            quiet = FOLLOW_SECONDS if follow else QUIET_SECONDS
            for text in self.web.lines(f"/v2/pods/{pod_id}/logs", query, cursor, quiet):
                if text.startswith("data:"):
                    event = json.loads(text.removeprefix("data:"))
                    cursor = {"Last-Event-ID": event["ts"]} if event.get("ts") else cursor
                    yield str(event.get("line", ""))
            if not follow or (self.pod(pod_id) or {}).get("status") not in ("STARTING", "RUNNING", "PROVISIONING"):
                return
