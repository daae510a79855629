"""`launch runpod` against RunPod's documented API on 127.0.0.1, in good times and bad."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from loopback import Fault, without_waiting
from runpod_service import A100, H100, KEY, RunPodService
from typer.testing import CliRunner

from megatron_recipe.cli import app
from megatron_recipe.clouds.runpod_api import RunPod
from megatron_recipe.clouds.runpod_place import PodWish, place
from megatron_recipe.clouds.runpod_spot import Keeper
from megatron_recipe.clouds.web import CloudError
from megatron_recipe.errors import ConfigError, MachineError

IMAGE = "ghcr.io/me/recipe@sha256:" + "0" * 64
WISH = PodWish("mine", IMAGE, ("h100_80", "a100_80"), volume="vol1")
PODS = "/v2/pods"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPodService]:
    with RunPodService() as running:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", running.address)
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        yield running


@pytest.fixture
def api(service: RunPodService) -> RunPod:
    """A client that does not wait: the pauses are kept in `waited`."""
    return without_waiting(RunPod.of())


def launch(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["launch", "runpod", *arguments], catch_exceptions=True)


def test_a_pod_is_asked_for_field_by_field(service: RunPodService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "wandb-4711")
    done = launch(
        "up", "--image", IMAGE, "--gpu", "h100_80", "--gpus", "2", "--volume", "vol1", "--max-price", "6", "--min-cuda",
        "12.8", "--env", "WANDB_API_KEY", "--env", "LANG=C.UTF-8", "--registry", "reg1", "--disk-gb", "60", "--name",
        "mine", "--run", "launch/pretrain_1b.sh --set data.datasets=/workspace/datasets/main",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (asked,) = service.of("POST", PODS)
    assert asked.authorization == f"Bearer {KEY}"
    assert asked.body == {
        "name": "mine",
        "image": IMAGE,
        "gpu": {"id": H100, "count": 2, "minCudaVersion": "12.8"},
        "cloud": "SECURE",
        "disk": 60,
        "ports": ["22/tcp", "6006/http"],
        "env": {"WANDB_API_KEY": "wandb-4711", "LANG": "C.UTF-8"},
        "startSsh": True,
        "args": "megatron-recipe launch run --idle-minutes 30 launch/pretrain_1b.sh --set "
        "data.datasets=/workspace/datasets/main",
        "dataCenterIds": ["EU-RO-1"],
        "mounts": {"network": [{"volumeId": "vol1", "path": "/workspace"}]},
        "registry": "reg1",
    }
    (catalog,) = service.of("GET", "/v2/catalog/gpus")
    assert catalog.query == {"include": "AVAILABILITY", "product": "POD", "count": "2", "cloud": "SECURE"}
    assert "5.00 USD/h" in done.output


def test_a_pod_from_up_to_down(service: RunPodService) -> None:
    assert launch("up", "--image", IMAGE, "--gpu", "a100_80").exit_code == 0
    shown = launch("status").output
    assert "RUNNING" in shown
    assert "94 %" in shown
    assert "1.50 USD/h" in shown
    assert launch("logs", "--tail", "5").output.splitlines() == ["step 10", "step 20"]
    (pod_id,) = service.pods
    said = launch("ssh", "--dry-run").output
    assert f"ssh -p 34446 -o HostKeyAlias={pod_id}.34446 -o StrictHostKeyChecking=accept-new" in said
    assert said.endswith("root@127.0.0.1\n")
    assert "root@127.0.0.1:/workspace/runs/gpt_1b" in launch("sync", "runs/gpt_1b", "--dry-run").output
    assert launch("down").exit_code == 0
    assert "EXITED" in launch("status").output
    assert "is EXITED; start it" in str(launch("ssh", "--dry-run").exception)
    assert launch("up", "--image", IMAGE, "--gpu", "a100_80").exit_code == 0  # the same pod again
    actions = [one.body["action"] for one in service.asked if one.path.endswith("/action")]
    assert actions == ["stop", "start"]
    assert launch("down", "--terminate").exit_code == 0
    assert service.pods == {}
    assert len(service.of("POST", PODS)) == 1
    (deleted,) = [one for one in service.asked if one.method == "DELETE"]
    assert deleted.path.startswith(f"{PODS}/pod")
    gone = launch("status")
    assert isinstance(gone.exception, MachineError)


def test_a_dry_run_changes_nothing_and_shows_no_secret(service: RunPodService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf-4711-secret")
    done = launch("up", "--image", IMAGE, "--gpu", "h100_80", "--volume", "vol1", "--env", "HF_TOKEN", "--dry-run")
    assert '"HF_TOKEN": "[hidden]"' in done.output
    assert "4711" not in done.output
    assert {one.method for one in service.asked} == {"GET"}


def test_the_next_gpu_is_taken_where_the_first_is_not_to_be_had(service: RunPodService, api: RunPod) -> None:
    service.full = {H100}
    assert place(api, WISH)["gpu"]["id"] == A100
    service.full = {H100, A100}
    service.pods.clear()
    with pytest.raises(CloudError, match=r"none of these.*H100.*no instances.*A100.*--gpu"):
        place(api, WISH)


def test_a_catalog_that_is_behind_is_not_believed(service: RunPodService, api: RunPod) -> None:
    service.faults.append(Fault("POST", PODS, 400, {"title": "Bad Request", "detail": "no instances"}))
    assert place(api, WISH)["gpu"]["id"] == A100
    assert [one.body["gpu"]["id"] for one in service.of("POST", PODS)] == [H100, A100]


def test_the_price_limit_holds_before_and_after(service: RunPodService, api: RunPod) -> None:
    assert place(api, replace(WISH, max_price=2.0))["gpu"]["id"] == A100
    assert [one.body["gpu"]["id"] for one in service.of("POST", PODS)] == [A100]
    service.pods.clear()
    service.surcharge = 1.0  # what the catalog does not say
    with pytest.raises(CloudError, match="given back"):
        place(api, replace(WISH, max_price=2.0))
    assert service.pods == {}


def test_a_pod_that_is_placed_elsewhere_is_given_back(service: RunPodService, api: RunPod) -> None:
    service.data_center = "US-KS-2"
    with pytest.raises(CloudError, match="was placed in US-KS-2; given back"):
        place(api, replace(WISH, volume="", data_centers=("EU-RO-1", "EU-SE-1")))
    assert service.pods == {}
    assert service.of("POST", PODS)[0].body["dataCenterIds"] == ["EU-RO-1", "EU-SE-1"]


def test_a_volume_binds_to_its_data_center(api: RunPod) -> None:
    with pytest.raises(ConfigError, match="lies in EU-RO-1"):
        place(api, replace(WISH, data_centers=("US-KS-2",)))


def test_an_unknown_gpu_is_answered_with_the_known(api: RunPod) -> None:
    with pytest.raises(ConfigError, match=r"h900.*h100_80.*NVIDIA A100"):
        place(api, replace(WISH, gpus=("h900",)))


def test_a_wrong_key_is_said_once(service: RunPodService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_wrong_0815")
    done = launch("status")
    assert isinstance(done.exception, CloudError)
    assert "does not take the key in RUNPOD_API_KEY" in str(done.exception)
    assert "0815" not in str(done.exception)
    assert len(service.asked) == 1


def test_too_many_requests_wait_as_long_as_asked(service: RunPodService, api: RunPod) -> None:
    busy = {"title": "Too Many Requests", "status": 429, "detail": "rate limit exceeded"}
    service.faults.append(Fault("POST", PODS, 429, busy, {"Retry-After": "12"}, times=2))
    place(api, WISH)
    assert api.web.waited == [12.0, 12.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [500, "hang"])
def test_faults_are_tried_again_with_longer_pauses(service: RunPodService, api: RunPod, status: int | str) -> None:
    service.faults.append(Fault("GET", PODS, status, {"title": "Internal Server Error"}, times=2, seconds=1.0))
    assert api.pods() == []
    assert api.web.waited == [1.0, 2.0]  # type: ignore[attr-defined]


def test_a_fault_that_stays_is_an_error(service: RunPodService, api: RunPod) -> None:
    service.faults.append(Fault("GET", PODS, 503, {"detail": "upstream"}, times=99))
    with pytest.raises(CloudError, match=r"answered 503.*upstream.*try again later"):
        api.pods()
    assert len(service.asked) == 5


def test_an_answer_that_is_lost_rents_no_second_pod(service: RunPodService, api: RunPod) -> None:
    service.faults.append(Fault("POST", PODS, "lost", seconds=1.0))
    pod = place(api, WISH)
    assert list(service.pods) == [pod["id"]]
    assert len(service.of("POST", PODS)) == 1


def test_a_request_that_is_lost_is_sent_again(service: RunPodService, api: RunPod) -> None:
    service.faults.append(Fault("POST", PODS, "hang", seconds=1.0))
    service.faults.append(Fault("POST", PODS, 500, {"detail": "oops"}))
    place(api, WISH)
    assert len(service.pods) == 1
    assert len(service.of("POST", PODS)) == 3


def test_a_request_that_is_wrong_is_not_sent_for_each_gpu(service: RunPodService, api: RunPod) -> None:
    service.faults.append(Fault("POST", PODS, 422, {"detail": "validation failed", "errors": ["missing 'x'"]}))
    with pytest.raises(CloudError, match="missing 'x'"):
        place(api, WISH)
    assert len(service.of("POST", PODS)) == 1


def test_an_empty_purse_ends_it(service: RunPodService, api: RunPod) -> None:
    service.faults.append(Fault("POST", PODS, 402, {"detail": "balance"}))
    with pytest.raises(CloudError, match="balance is too low"):
        place(api, WISH)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--keep",), "--keep goes with --bid"),
        (("--bid", "1"), "--bid needs --volume"),
        (("--bid", "2", "--gpus", "2", "--volume", "vol1", "--max-price", "3"), "above --max-price 3"),
        (("--env", "HF_TOKEN=abcdefgh"), "read a command line"),
        (("--env", "NOT_SET_HERE"), "not set here"),
        (("--cloud", "moon"), "secure or community"),
        (("--run", "launch/it's"), "no closing quotation"),
    ],
)
def test_wrong_options_are_answered_before_anything_is_asked(
    service: RunPodService, arguments: tuple[str, ...], said: str
) -> None:
    done = launch("up", "--image", IMAGE, "--gpu", "h100_80", *arguments)
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
    assert service.asked == []


def test_a_key_goes_to_no_address_that_is_not_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://api.runpod.io")
    with pytest.raises(ConfigError, match="https"):
        RunPod.of()


def test_a_spot_pod_is_rented_with_a_bid(service: RunPodService) -> None:
    done = launch("up", "--image", IMAGE, "--gpu", "h100_80", "--bid", "1.2", "--volume", "vol1", "--env", "LANG=C")
    assert done.exit_code == 0, done.exception
    (asked,) = service.of("POST", "/graphql")
    assert asked.body["variables"]["input"] == {
        "bidPerGpu": 1.2, "cloudType": "SECURE", "gpuTypeId": H100, "gpuCount": 1, "name": "megatron-recipe",
        "imageName": IMAGE, "containerDiskInGb": 50, "volumeInGb": 0, "networkVolumeId": "vol1",
        "volumeMountPath": "/workspace", "dataCenterId": "EU-RO-1", "dockerArgs": "", "ports": "22/tcp,6006/http",
        "env": [{"key": "LANG", "value": "C"}], "startSsh": True,
    }  # fmt: skip
    assert service.of("POST", PODS) == []


class Watched:
    """Time that passes when a keeper sleeps, with something that happens at its moments."""

    def __init__(self, *moments: Any) -> None:
        self.now, self.moments = 0.0, list(moments)

    def sleep(self, seconds: float) -> None:
        self.now += 1000.0
        if self.moments:
            self.moments.pop(0)()


def kept(service: RunPodService, api: RunPod, *moments: Any) -> str:
    """Keep a spot pod through these moments; returns the id of the first one."""
    launch("up", "--image", IMAGE, "--gpu", "h100_80", "--bid", "1.2", "--volume", "vol1", "--name", "mine")
    (pod_id,) = service.pods
    time = Watched(*moments)
    api.web.sleep = time.sleep
    Keeper(api, WISH, 1.2, clock=lambda: time.now).keep(pod_id)
    return pod_id


def test_a_pod_that_is_taken_away_is_got_back(service: RunPodService, api: RunPod) -> None:
    def taken() -> None:
        service.take_away(next(iter(service.pods)))

    kept(service, api, taken, taken, lambda: service.pods.clear())
    assert sum("podBidResume" in one.body["query"] for one in service.of("POST", "/graphql")) == 2


def test_another_machine_is_taken_where_its_own_is_full(service: RunPodService, api: RunPod) -> None:
    def taken_and_full() -> None:
        service.take_away(next(iter(service.pods)))
        service.full = {H100, A100}

    def one_is_free() -> None:
        service.full = {H100}

    first = kept(service, api, taken_and_full, one_is_free, lambda: service.pods.clear())
    rented = [one for one in service.of("POST", "/graphql") if "Rent" in one.body["query"]]
    assert rented[-1].body["variables"]["input"]["gpuTypeId"] == A100
    assert rented[-1].body["variables"]["input"]["networkVolumeId"] == "vol1"
    assert f"{PODS}/{first}" in [one.path for one in service.asked if one.method == "DELETE"]


def test_a_pod_that_dies_at_once_is_not_rented_for_ever(service: RunPodService, api: RunPod) -> None:
    launch("up", "--image", IMAGE, "--gpu", "h100_80", "--bid", "1.2", "--volume", "vol1")
    (pod_id,) = service.pods
    api.web.sleep = lambda seconds: service.take_away(pod_id)
    with pytest.raises(CloudError, match="3 times"):
        Keeper(api, WISH, 1.2).keep(pod_id)
