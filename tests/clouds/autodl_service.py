"""AutoDL on 127.0.0.1: instances (Pro) and elastic deployments, by the documentation of 2026-09.

Its refusals come with status 200 and a code that is not Success; GET takes its arguments from the address alone.
"""

from typing import Any

from loopback import Asked, Loopback

TOKEN = "eyJ-loopback-0815"
PASSWORD = "jbeOXgTWUxq+"
INSTANCE_FIELDS = {
    "req_gpu_amount", "expand_system_disk_by_gb", "gpu_spec_uuid", "image_uuid", "cuda_v_from", "instance_name",
    "data_center_list", "start_command",
}  # fmt: skip
TEMPLATE_FIELDS = {
    "dc_list", "gpu_name_set", "gpu_num", "cuda_v_from", "cuda_v_to", "cpu_num_from", "cpu_num_to", "memory_size_from",
    "memory_size_to", "price_from", "price_to", "image_uuid", "cmd",
}  # fmt: skip
Answer = tuple[int, Any]


def fine(data: Any = None) -> Answer:
    return 200, {"code": "Success", "data": data, "msg": "", "request_id": "r1"}


def refused(code: str, message: str) -> Answer:
    return 200, {"code": code, "data": None, "msg": message, "request_id": "r1"}


class AutoDLService(Loopback):
    """One account, of a company or a person."""

    def __init__(self) -> None:
        super().__init__()
        self.is_company = True
        self.instances: dict[str, dict[str, Any]] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.full: set[str] = set()
        self.price = 5980

    def answer(self, asked: Asked) -> Answer:
        if asked.authorization != TOKEN:
            return refused("AuthorizeFailed", "登录失效")
        path = asked.path.removeprefix("/api/v1/dev/")
        if path.startswith("deployment"):
            if not self.is_company:
                return refused("BadRequest", "无当前资源访问权限")
            return self._deployment(asked, path)
        return self._instance(asked, path.removeprefix("instance/pro/"))

    def _instance(self, asked: Asked, verb: str) -> Answer:
        body = asked.query if asked.method == "GET" else asked.body
        if verb == "create":
            assert asked.method == "POST"
            assert set(body) <= INSTANCE_FIELDS, set(body) - INSTANCE_FIELDS
            if body["gpu_spec_uuid"] in self.full:
                return refused("NoStock", "当前地区GPU库存不足")
            uuid = f"pro-{len(self.instances) + len(self.asked):04d}"
            self.instances[uuid] = {
                "uuid": uuid, "name": body.get("instance_name", ""), "status": "running",
                "req_gpu_amount": body["req_gpu_amount"], "gpu_spec_uuid": body["gpu_spec_uuid"],
                "image": body["image_uuid"],
            }  # fmt: skip
            return fine(uuid)
        if verb == "list":
            rows = list(self.instances.values())[::-1]
            return fine({"list": rows, "page_index": body["page_index"], "max_page": 1, "result_total": len(rows)})
        if (body or {}).get("instance_uuid") not in self.instances:
            return refused("RecordNotFoundError", "未查询到相关实例")
        instance = self.instances[body["instance_uuid"]]
        match asked.method, verb:
            case "GET", "status":
                return fine(instance["status"])
            case "GET", "snapshot":
                return fine(self._snapshot(instance))
            case "POST", "power_on":
                assert body["payload"] == "gpu"
                instance["status"] = "running"
                return fine()
            case "POST", "power_off":
                instance["status"] = "shutdown"
                return fine()
            case "POST", "release":
                if instance["status"] != "shutdown":
                    return refused("BadRequest", "请先关机")
                del self.instances[instance["uuid"]]
                return fine()
            case "POST", "image/save":
                assert set(body) == {"instance_uuid", "image_name"}
                return fine({"image_uuid": "image-3d0217ce85"})
        return 404, {"code": "NotFound", "msg": f"{asked.method} {verb}"}

    def _snapshot(self, instance: dict[str, Any]) -> dict[str, Any]:
        is_up = instance["status"] == "running"
        return {
            "region_sign": "bj-B1", "payg_price": self.price, "origin_pay_price": 6980,
            "snapshot_gpu_alias_name": "NVIDIA H800",
            "usage_info": {"root_fs_used_size": 12e9, "root_fs_total_size": 31.5e9, "data_disk_used_size": 1e9,
                           "data_disk_total_size": 50e9},
            "ssh_command": "ssh -p 34222 root@connect.bjb1.seetacloud.com" if is_up else "",
            "proxy_host": "connect.bjb1.seetacloud.com", "ssh_port": 34222, "root_password": PASSWORD,
            "jupyter_token": "jupyter-secret", "service_6006_domain": "u1-h1tr.bjb1.seetacloud.com:8443",
        }  # fmt: skip

    def _deployment(self, asked: Asked, path: str) -> Answer:
        body = asked.body
        match asked.method, path:
            case "POST", "deployment":
                assert set(body["container_template"]) == TEMPLATE_FIELDS, set(body["container_template"])
                assert {"replica_num", "parallelism_num"} <= set(body), body
                uuid = f"dep{len(self.asked)}"
                self.deployments[uuid] = {"uuid": uuid, "status": "running", **body}
                return fine({"deployment_uuid": uuid})
            case "POST", "deployment/list":
                rows = [one for one in self.deployments.values() if body.get("name", one["name"]) == one["name"]]
                return fine({"list": rows, "page_index": 1, "max_page": 1})
            case "POST", "deployment/container/list":
                deployment = self.deployments[body["deployment_uuid"]]
                container = {
                    "uuid": "con1", "deployment_uuid": deployment["uuid"], "status": deployment["status"],
                    "gpu_name": "H800", "gpu_num": 1, "price": 8880.0,
                    "info": {"ssh_command": "ssh -p 41123 root@region-1.autodl.com", "root_password": PASSWORD,
                             "service_6006_port_url": "https://u2.region-1.autodl.com"},
                }  # fmt: skip
                return fine({"list": [container], "page_index": 1, "max_page": 1})
            case "PUT", "deployment/operate":
                assert body["operate"] == "stop"
                self.deployments[body["deployment_uuid"]]["status"] = "stopped"
                return fine()
            case "DELETE", "deployment":
                del self.deployments[body["deployment_uuid"]]
                return fine()
        return 404, {"code": "NotFound", "msg": f"{asked.method} {path}"}
