"""AutoDL's API, as documented (www.autodl.com/docs: 容器实例Pro API, 弹性部署API): instances and deployments.

Instances need an account verified as a person or a company, deployments a company's. Both take images that were saved
on AutoDL, and none from outside. Ordinary instances, made on the web page, have no API.

Not through the package `autodl-api` (1.0.2, of July 2025, by a third party): it has no instances, no time-outs, no
retries, and stops containers by POST where the documentation has PUT.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from megatron_recipe.clouds.secrets import read_secret, redact
from megatron_recipe.clouds.web import CloudError, Web, base_address

KEYS_PAGE = "www.autodl.com → 控制台 → 账号 → 设置 → 开发者Token"
USUAL_ADDRESS = "https://api.autodl.com"
ADDRESS = "AUTODL_API_BASE_URL"
KEY = "AUTODL_TOKEN"
SUCCESS = "Success"
NO_RIGHT = "无当前资源访问权限"
NO_KEY = ("AuthorizeFailed", "TokenInvalid", "Unauthorized")
PAGE = 100
PER_YUAN = 1000
"""Prices are thousandths of a yuan."""
INSTANCE, DEPLOYMENT = "/api/v1/dev/instance/pro", "/api/v1/dev/deployment"


@dataclass
class AutoDL:
    """The instances and deployments of one account. Methods raise CloudError."""

    web: Web

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "AutoDL":
        """With the token of the environment. Raises ConfigError where there is none."""
        key = read_secret(KEY, environment, f"copy it from {KEYS_PAGE}, then export {KEY}=… (or {KEY}_FILE)")
        address = base_address(ADDRESS, USUAL_ADDRESS, environment)
        return cls(Web("AutoDL", address, key, str, KEYS_PAGE))  # the token alone, without a word before it

    def instances(self) -> list[dict[str, Any]]:
        """Instances (Pro): uuid, name, status, gpu_spec_uuid, req_gpu_amount, …"""
        return self._pages(f"{INSTANCE}/list")

    def instance_named(self, name: str) -> dict[str, Any] | None:
        """The newest instance of this name."""
        return next((one for one in self.instances() if one["name"] == name), None)

    def create_instance(self, body: Mapping[str, Any]) -> str:
        """Rent an instance, paid by the hour; returns its id. Not repeated after a fault: it may be there already."""
        return str(self._call("POST", f"{INSTANCE}/create", body, again=False))

    def snapshot(self, uuid: str) -> dict[str, Any]:
        """How to reach an instance and what it costs; also its password, which is never shown."""
        return dict(self._call("GET", f"{INSTANCE}/snapshot", query={"instance_uuid": uuid}))

    def status(self, uuid: str) -> str:
        """`running`, `shutdown` and others."""
        return str(self._call("GET", f"{INSTANCE}/status", query={"instance_uuid": uuid}))

    def power_on(self, uuid: str, start_command: str) -> None:
        """Start an instance with its GPUs; the mode without is for the web page alone."""
        body = {"instance_uuid": uuid, "payload": "gpu"}
        if start_command:
            body["start_command"] = start_command
        self._call("POST", f"{INSTANCE}/power_on", body)

    def power_off(self, uuid: str) -> None:
        """Shut down; the disk stays."""
        self._call("POST", f"{INSTANCE}/power_off", {"instance_uuid": uuid})

    def release(self, uuid: str) -> None:
        """Delete an instance that is shut down, with its disk."""
        self._call("POST", f"{INSTANCE}/release", {"instance_uuid": uuid})

    def save_image(self, uuid: str, name: str) -> str:
        """Save the system disk of an instance as an image; returns the image's id."""
        body = {"instance_uuid": uuid, "image_name": name}
        return str(self._call("POST", f"{INSTANCE}/image/save", body, again=False)["image_uuid"])

    def deployment_named(self, name: str) -> dict[str, Any] | None:
        """The deployment of this name that runs, else the newest."""
        found = self._pages(f"{DEPLOYMENT}/list", {"name": name})
        running = [one for one in found if one.get("status") == "running"]
        return next(iter(running or found), None)

    def create_deployment(self, body: Mapping[str, Any]) -> str:
        """Begin a deployment; returns its id."""
        return str(self._call("POST", DEPLOYMENT, body, again=False)["deployment_uuid"])

    def containers(self, deployment: str) -> list[dict[str, Any]]:
        """Containers of a deployment: uuid, status, price, info.ssh_command, …; also passwords, never shown."""
        return self._pages(f"{DEPLOYMENT}/container/list", {"deployment_uuid": deployment, "released": False})

    def stop_deployment(self, deployment: str) -> None:
        """Stop all its containers."""
        self._call("PUT", f"{DEPLOYMENT}/operate", {"deployment_uuid": deployment, "operate": "stop"})

    def delete_deployment(self, deployment: str) -> None:
        """Delete it, with its containers."""
        self._call("DELETE", DEPLOYMENT, {"deployment_uuid": deployment})

    def _pages(self, path: str, body: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for page in range(1, 100):
            data = self._call("POST", path, {**(body or {}), "page_index": page, "page_size": PAGE})
            rows += data["list"] or []
            if page >= int(data.get("max_page") or 1):
                break
        return rows

    def _call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None, *, again: bool = True
    ) -> Any:
        """`data` of an answer. Refusals come with code 200 as well, and have no list of codes."""
        answer = self.web.request(method, path, body, query, again=again)
        if isinstance(answer, dict) and answer.get("code") == SUCCESS:
            return answer.get("data")
        code, said = (str(answer.get("code")), str(answer.get("msg"))) if isinstance(answer, dict) else ("?", "?")
        said = redact(said, os.environ, self.web.key)[:300]
        if NO_RIGHT in said:
            raise CloudError(
                f"AutoDL: this account may not do that ({said}): elastic deployments need a company's verification "
                "(企业认证), instances (Pro) a person's or a company's (实名认证)",
                403,
            )
        if code in NO_KEY:
            raise CloudError(f"AutoDL does not take the key in {KEY} ({said}); make a new one: {KEYS_PAGE}", 401)
        raise CloudError(f"AutoDL refused {method} {path} ({code}): {said}", 400)
