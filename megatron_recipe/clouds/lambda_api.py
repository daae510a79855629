"""Lambda's Cloud API v1 (https://docs.lambda.ai/api/cloud): virtual machines, which are launched and terminated.

There is no stopping, and `shutdown` on the machine does not end the bill: only `terminate` does.
"""

import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from megatron_recipe.clouds.secrets import read_secret
from megatron_recipe.clouds.web import Web, base_address

KEYS_PAGE = "cloud.lambda.ai → API keys"
USUAL_ADDRESS = "https://cloud.lambda.ai"
ADDRESS = "LAMBDA_API_BASE_URL"
KEY = "LAMBDA_API_KEY"
ROOT = "/api/v1"


def basic(key: str) -> str:
    """The key as the user of HTTP's basic authorization, without a password."""
    return f"Basic {b64encode(f'{key}:'.encode()).decode()}"


@dataclass
class Lambda:
    """The instances of one account. Methods raise CloudError."""

    web: Web

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Lambda":
        """With the key of the environment. Raises ConfigError where there is none."""
        key = read_secret(KEY, environment, f"make one: {KEYS_PAGE}, then export {KEY}=… (or {KEY}_FILE)")
        return cls(Web("Lambda", base_address(ADDRESS, USUAL_ADDRESS, environment), key, basic, KEYS_PAGE))

    def types(self) -> dict[str, dict[str, Any]]:
        """{name: {instance_type: {price_cents_per_hour, …}, regions_with_capacity_available: [{name}]}}."""
        return dict(self._get("instance-types"))

    def file_system(self, name: str) -> dict[str, Any] | None:
        """A file system by its name: region.name, mount_point."""
        return next((one for one in self._get("file-systems") if one["name"] == name), None)

    def ssh_keys(self) -> list[str]:
        """Names of the account's public keys."""
        return [str(one["name"]) for one in self._get("ssh-keys")]

    def instances(self) -> list[dict[str, Any]]:
        """Instances that are paid for: id, name, status, ip, region, instance_type, file_system_names."""
        return [one for one in self._get("instances") if one["status"] not in ("terminating", "terminated")]

    def named(self, name: str) -> dict[str, Any] | None:
        """The instance of this name."""
        return next((one for one in self.instances() if one.get("name") == name), None)

    def launch(self, body: Mapping[str, Any]) -> str:
        """Rent one instance; returns its id. Not repeated after a fault: it may be there already."""
        answer = self.web.request("POST", f"{ROOT}/instance-operations/launch", body, again=False)
        return str(answer["data"]["instance_ids"][0])

    def terminate(self, instance: str) -> None:
        """Give it back, with its own disk; file systems stay."""
        self.web.request("POST", f"{ROOT}/instance-operations/terminate", {"instance_ids": [instance]})

    def _get(self, what: str) -> Any:
        return self.web.request("GET", f"{ROOT}/{what}")["data"]
