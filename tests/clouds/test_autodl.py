"""`launch autodl` against AutoDL's documented API on 127.0.0.1, in good times and bad."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from autodl_service import PASSWORD, TOKEN, AutoDLService
from loopback import Fault, without_waiting
from typer.testing import CliRunner

from megatron_recipe.cli import app
from megatron_recipe.clouds.autodl_api import AutoDL
from megatron_recipe.clouds.autodl_rent import InstanceWish, rent_instance
from megatron_recipe.clouds.web import CloudError
from megatron_recipe.errors import ConfigError, MachineError

IMAGE = "image-3d0217ce85"
WISH = InstanceWish("mine", IMAGE, ("h800_80", "pro6000_96"))
CREATE = "/api/v1/dev/instance/pro/create"
RUN = "launch/pretrain_1b.sh --set data.datasets=/root/autodl-tmp/datasets/main"
COMMAND = f"bash ~/megatron-recipe/launch/autodl/start.sh --idle-minutes 30 {RUN}"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[AutoDLService]:
    with AutoDLService() as running:
        monkeypatch.setenv("AUTODL_API_BASE_URL", running.address)
        monkeypatch.setenv("AUTODL_TOKEN", TOKEN)
        yield running


@pytest.fixture
def api(service: AutoDLService) -> AutoDL:
    return without_waiting(AutoDL.of())


def launch(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["launch", "autodl", *arguments])


def test_an_instance_is_asked_for_field_by_field(service: AutoDLService) -> None:
    done = launch(
        "up", "--image", IMAGE, "--gpu", "h800_80", "--gpus", "2", "--data-center", "beijingDC2", "--max-price", "20",
        "--system-disk-gb", "20", "--name", "mine", "--run", RUN,
    )  # fmt: skip
    assert done.exit_code == 0, done.exception
    (asked,) = service.of("POST", CREATE)
    assert asked.authorization == TOKEN
    assert asked.body == {
        "req_gpu_amount": 2, "expand_system_disk_by_gb": 20, "gpu_spec_uuid": "h800", "image_uuid": IMAGE,
        "cuda_v_from": 128, "instance_name": "mine", "data_center_list": ["beijingDC2"], "start_command": COMMAND,
    }  # fmt: skip
    assert "5.98 yuan/h" in done.output


def test_a_deployment_is_asked_for_field_by_field(service: AutoDLService) -> None:
    done = launch(
        "up", "--elastic", "--image", IMAGE, "--gpu", "H800", "--data-center", "westDC2", "--max-price", "9.5", "--run",
        RUN,
    )  # fmt: skip
    assert done.exit_code == 0, done.exception
    (asked,) = service.of("POST", "/api/v1/dev/deployment")
    assert asked.body == {
        "name": "megatron-recipe", "deployment_type": "Job", "replica_num": 1, "parallelism_num": 1,
        "reuse_container": True, "reuse_container_scope": "deployment",
        "container_template": {
            "dc_list": ["westDC2"], "gpu_name_set": ["H800"], "gpu_num": 1, "cuda_v_from": 128, "cuda_v_to": 999,
            "cpu_num_from": 1, "cpu_num_to": 1000, "memory_size_from": 1, "memory_size_to": 4096, "price_from": 0,
            "price_to": 9500, "image_uuid": IMAGE, "cmd": COMMAND,
        },
    }  # fmt: skip


@pytest.mark.parametrize("kind", [(), ("--elastic",)])
def test_a_machine_from_up_to_deleted(service: AutoDLService, kind: tuple[str, ...]) -> None:
    where = ("--data-center", "westDC2") if kind else ()
    assert launch("up", *kind, "--image", IMAGE, "--gpu", "h800_80", "--run", RUN, *where).exit_code == 0
    shown = launch("status", *kind).output
    assert "running" in shown
    assert ("8.88" if kind else "5.98") in shown
    assert "TensorBoard  https://u" in shown
    assert launch("ssh", *kind, "--dry-run").output.startswith(
        "would run: ssh -p 3" if not kind else "would run: ssh -p 4"
    )
    log = launch("logs", *kind, "--follow", "--dry-run").output
    assert "tail -n 100 -F /root/autodl-tmp/run.log" in log
    assert ":/root/autodl-tmp/runs/gpt_1b" in launch("sync", *kind, "runs/gpt_1b", "--dry-run").output
    assert launch("down", *kind).exit_code == 0
    assert "is not running" in str(launch("ssh", *kind, "--dry-run").exception)
    everything = shown + log + launch("status", *kind).output
    assert PASSWORD not in everything
    assert "jupyter-secret" not in everything
    assert launch("down", *kind, "--release").exit_code == 0
    assert service.instances == {}
    assert service.deployments == {}


def test_an_instance_that_was_shut_down_is_started_again(service: AutoDLService) -> None:
    launch("up", "--image", IMAGE, "--gpu", "h800_80")
    launch("down")
    assert launch("up", "--image", IMAGE, "--gpu", "h800_80", "--run", RUN).exit_code == 0
    (asked,) = service.of("POST", "/api/v1/dev/instance/pro/power_on")
    (uuid,) = service.instances
    assert asked.body == {"instance_uuid": uuid, "payload": "gpu", "start_command": COMMAND}
    assert len(service.of("POST", CREATE)) == 1


def test_the_system_disk_is_saved_as_an_image(service: AutoDLService) -> None:
    launch("up", "--image", IMAGE, "--gpu", "h800_80")
    assert "image-3d0217ce85" in launch("image", "recipe-2026-11").output
    (asked,) = service.of("POST", "/api/v1/dev/instance/pro/image/save")
    assert asked.body == {"instance_uuid": next(iter(service.instances)), "image_name": "recipe-2026-11"}


def test_get_requests_have_their_arguments_in_the_address(service: AutoDLService) -> None:
    launch("up", "--image", IMAGE, "--gpu", "h800_80")
    launch("status")
    (asked,) = service.of("GET", "/api/v1/dev/instance/pro/status")
    assert asked.query == {"instance_uuid": next(iter(service.instances))}
    assert asked.body is None


def test_the_next_gpu_is_taken_where_the_first_is_out_of_stock(service: AutoDLService, api: AutoDL) -> None:
    service.full = {"h800"}
    rent_instance(api, WISH)
    assert [one["gpu_spec_uuid"] for one in service.instances.values()] == ["pro6000-p"]
    service.full = {"h800", "pro6000-p"}
    with pytest.raises(CloudError, match=r"none of these.*h800_80.*库存不足.*pro6000_96.*--gpu"):
        rent_instance(api, WISH)


def test_an_instance_above_the_price_is_given_back(service: AutoDLService, api: AutoDL) -> None:
    with pytest.raises(CloudError, match=r"5\.98 yuan/h, above --max-price 5; given back"):
        rent_instance(api, replace(WISH, max_price=5.0))
    assert service.instances == {}


def test_what_an_account_may_not_do_is_said(service: AutoDLService) -> None:
    service.is_company = False
    refusal = launch("up", "--elastic", "--image", IMAGE, "--gpu", "H800", "--data-center", "westDC2", "--run", RUN)
    assert isinstance(refusal.exception, CloudError)
    assert "企业认证" in str(refusal.exception)
    assert launch("up", "--image", IMAGE, "--gpu", "h800_80").exit_code == 0


def test_a_wrong_token_is_said(service: AutoDLService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODL_TOKEN", "wrong-token-1")
    refusal = launch("status")
    assert isinstance(refusal.exception, CloudError)
    assert "does not take the key in AUTODL_TOKEN" in str(refusal.exception)
    service.faults.append(Fault("POST", "/api/v1/dev/instance/pro/list", 401, {"msg": "no"}))
    assert "does not take the key" in str(launch("status").exception)


@pytest.mark.parametrize("status", [429, 500, "hang"])
def test_faults_are_tried_again(service: AutoDLService, api: AutoDL, status: int | str) -> None:
    service.faults.append(Fault("POST", "/api/v1/dev/instance/pro/list", status, {"msg": "busy"}, times=2, seconds=1.0))
    assert api.instances() == []
    assert api.web.waited == [1.0, 2.0]  # type: ignore[attr-defined]


def test_an_answer_that_is_lost_rents_no_second_instance(service: AutoDLService, api: AutoDL) -> None:
    service.faults.append(Fault("POST", CREATE, "lost", seconds=1.0))
    assert rent_instance(api, WISH) == next(iter(service.instances))
    assert len(service.of("POST", CREATE)) == 1


def test_a_dry_run_only_shows(service: AutoDLService) -> None:
    shown = launch("up", "--image", IMAGE, "--gpu", "h800_80", "--dry-run")
    assert json.loads(shown.output)["gpu_spec_uuid"] == "h800"
    assert service.asked == []


def test_wrong_wishes_are_answered(service: AutoDLService, api: AutoDL) -> None:
    with pytest.raises(ConfigError, match="1 to 4"):
        rent_instance(api, replace(WISH, count=8))
    assert isinstance(launch("up", "--elastic", "--image", IMAGE, "--gpu", "H800").exception, ConfigError)
    assert isinstance(launch("ssh").exception, MachineError)
