"""Lambda on 127.0.0.1, by the documentation of its Cloud API v1: answers in `data`, refusals in `error`."""

from base64 import b64encode
from typing import Any

from loopback import Asked, Loopback

KEY = "secret_recipe_0815.abcdef"
H100, A100 = "gpu_1x_h100_sxm5", "gpu_1x_a100_sxm4"
FIELDS = {"region_name", "instance_type_name", "ssh_key_names", "file_system_names", "name"}
Answer = tuple[int, Any]


def refused(status: int, code: str, message: str) -> Answer:
    return status, {"error": {"code": code, "message": message, "suggestion": ""}}


class LambdaService(Loopback):
    """One account: two types, a file system in us-south-1, one public key."""

    def __init__(self) -> None:
        super().__init__()
        self.instances: dict[str, dict[str, Any]] = {}
        self.cents = {H100: 429, A100: 199}
        self.regions = {H100: ["us-south-1", "us-west-1"], A100: ["us-south-1"]}
        self.sold_out: set[str] = set()

    def answer(self, asked: Asked) -> Answer:
        if asked.authorization != f"Basic {b64encode(f'{KEY}:'.encode()).decode()}":
            return refused(401, "global/invalid-api-key", "API key was invalid, expired, or deleted.")
        match asked.method, asked.path.removeprefix("/api/v1/"):
            case "GET", "instance-types":
                return 200, {"data": {name: self._type(name) for name in self.cents}}
            case "GET", "file-systems":
                return 200, {"data": [{"id": "fs1", "name": "recipe", "region": {"name": "us-south-1"}}]}
            case "GET", "ssh-keys":
                return 200, {"data": [{"id": "k1", "name": "mine", "public_key": "ssh-ed25519 AAAA"}]}
            case "GET", "instances":
                return 200, {"data": list(self.instances.values())}
            case "POST", "instance-operations/launch":
                return self._launch(asked.body)
            case "POST", "instance-operations/terminate":
                (instance,) = asked.body["instance_ids"]
                self.instances[instance]["status"] = "terminating"
                return 200, {"data": {"terminated_instances": [self.instances[instance]]}}
        return refused(404, "global/object-does-not-exist", asked.path)

    def _type(self, name: str) -> dict[str, Any]:
        return {
            "instance_type": {"name": name, "price_cents_per_hour": self.cents[name]},
            "regions_with_capacity_available": [{"name": region} for region in self.regions[name]],
        }

    def _launch(self, body: dict[str, Any]) -> Answer:
        assert set(body) == FIELDS, set(body) ^ FIELDS
        if body["instance_type_name"] in self.sold_out:
            return refused(400, "instance-operations/launch/insufficient-capacity", "Not enough capacity")
        made = f"i{len(self.asked):04d}"
        self.instances[made] = {
            "id": made, "name": body["name"], "status": "active", "ip": "127.0.0.1",
            "region": {"name": body["region_name"]}, "file_system_names": body["file_system_names"],
            "instance_type": self._type(body["instance_type_name"])["instance_type"], "jupyter_token": "jupyter-secret",
        }  # fmt: skip
        return 200, {"data": {"instance_ids": [made]}}
