"""`launch lambda` against Lambda's documented API on 127.0.0.1."""

from collections.abc import Iterator
from typing import Any

import pytest
from lambda_service import A100, H100, KEY, LambdaService
from loopback import Fault
from typer.testing import CliRunner

from megatron_recipe.cli import app
from megatron_recipe.clouds.web import CloudError
from megatron_recipe.errors import ConfigError, MachineError

LAUNCH = "/api/v1/instance-operations/launch"
UP = ("up", "--type", H100, "--type", A100, "--file-system", "recipe")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaService]:
    with LambdaService() as running:
        monkeypatch.setenv("LAMBDA_API_BASE_URL", running.address)
        monkeypatch.setenv("LAMBDA_API_KEY", KEY)
        yield running


def launch(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["launch", "lambda", *arguments])


def test_an_instance_from_up_to_terminated(service: LambdaService) -> None:
    done = launch(*UP)
    assert done.exit_code == 0, done.exception
    (asked,) = service.of("POST", LAUNCH)
    assert asked.body == {
        "region_name": "us-south-1", "instance_type_name": H100, "ssh_key_names": ["mine"],
        "file_system_names": ["recipe"], "name": "megatron-recipe",
    }  # fmt: skip
    assert "is there already (active)" in launch(*UP).output
    shown = launch("status").output
    assert "4.29 USD/h" in shown
    assert "jupyter-secret" not in shown
    said = launch("run", "launch/pretrain_1b.sh --set 'a=b c'", "--image", "ghcr.io/me/x@sha256:0", "--dry-run").output
    assert "docker run --detach --name megatron-recipe --gpus all" in said
    assert "-v /lambda/nfs/recipe:/workspace" in said
    assert "launch/pretrain_1b.sh --set" in said
    assert "docker logs --tail 5 --follow megatron-recipe" in launch("logs", "--tail", "5", "-f", "--dry-run").output
    assert "ubuntu@127.0.0.1:/lambda/nfs/recipe/runs/gpt_1b" in launch("sync", "runs/gpt_1b", "--dry-run").output
    assert launch("down", "--dry-run").exit_code == 0
    assert [one["status"] for one in service.instances.values()] == ["active"]
    assert launch("down").exit_code == 0
    assert isinstance(launch("status").exception, MachineError)


def test_the_next_type_is_taken_for_price_and_for_room(service: LambdaService) -> None:
    assert launch(*UP, "--max-price", "2", "--name", "cheap").exit_code == 0
    service.sold_out = {H100}
    assert launch(*UP, "--name", "second").exit_code == 0
    assert [one["instance_type"]["name"] for one in service.instances.values()] == [A100, A100]
    service.regions = {H100: ["us-west-1"], A100: []}
    refusal = str(launch(*UP, "--name", "third").exception)
    assert f"{H100}: none free in us-south-1" in refusal
    assert f"{A100}: none free" in refusal


def test_wrong_names_and_a_wrong_key_are_answered(service: LambdaService, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        ("up", "--type", "gpu_9x", "--file-system", "recipe"): "--type gpu_9x: not known",
        (*UP[:-1], "nowhere"): "--file-system nowhere",
        (*UP, "--ssh-key", "yours"): "--ssh-key yours: one of the account's keys, mine",
    }
    for arguments, said in wrong.items():
        refusal = launch(*arguments).exception
        assert isinstance(refusal, ConfigError)
        assert said in str(refusal)
    assert service.of("POST", LAUNCH) == []
    service.faults.append(Fault("POST", LAUNCH, 400, {"error": {"code": "x", "message": f"quota, {KEY}"}}, times=2))
    assert "quota, [hidden]" in str(launch(*UP).exception)
    monkeypatch.setenv("LAMBDA_API_KEY", "wrong-key-4711")
    assert "does not take the key in LAMBDA_API_KEY" in str(launch("status").exception)


def test_an_answer_that_is_lost_rents_no_second_instance(service: LambdaService) -> None:
    service.faults.append(Fault("POST", LAUNCH, 503, {"error": {"message": "busy"}}))
    assert isinstance(launch(*UP).exception, CloudError)
    assert service.instances == {}
    answer = service.answer

    def made_and_lost(asked: Any) -> Any:
        result = answer(asked)
        return (500, None) if asked.path == LAUNCH else result

    service.answer = made_and_lost  # type: ignore[method-assign]
    assert launch(*UP).exit_code == 0
    assert len(service.instances) == 1
