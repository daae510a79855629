"""Real, tiny runs on machines that are rented: a spot pod that is taken away, copies, and the shut-down at the end."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from commands import ENVIRONMENT, LAUNCH, NEEDS_RSYNC, megatron_recipe
from runpod_service import KEY, RunPodService
from small_runs import arguments

from megatron_recipe.checkpoint_integrity import damage
from megatron_recipe.clouds.runpod_api import RunPod
from megatron_recipe.clouds.runpod_place import PodWish, place
from megatron_recipe.clouds.runpod_spot import Keeper, rent
from megatron_recipe.files import read_jsonl

pytestmark = pytest.mark.slow
IMAGE = "ghcr.io/me/recipe:1"


def events(run_dir: Path) -> list[dict[str, Any]]:
    path = run_dir / "events.jsonl"
    return read_jsonl(path) if path.exists() else []


def test_a_spot_pod_that_is_taken_away_continues_from_its_volume(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod is a process tree: killed in the middle of training, started again, and ended by its own run."""
    volume = tmp_path / "volume"
    volume.mkdir()
    run_dir = volume / "runs" / "one"
    log = (tmp_path / "pod.log").open("ab")

    def start(pod: dict[str, Any]) -> "subprocess.Popen[bytes]":
        words = pod["args"].split()
        assert words[:3] == ["megatron-recipe", "launch", "run"], words
        environment = {**ENVIRONMENT, **pod["env"], "RUNPOD_POD_ID": pod["id"], "RUNPOD_API_KEY": KEY}
        command = [sys.executable, "-m", "megatron_recipe.cli", *words[1:]]
        return subprocess.Popen(command, cwd=volume, env=environment, stdout=log, stderr=log, start_new_session=True)

    with RunPodService(start) as service:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", service.address)
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        options = arguments(
            dataset, run_dir, "checkpoint.save_every_steps=2", "train.steps=400", "train.stop_at_step=16",
            "budget.at_end=terminate", "budget.shut_down_after_seconds=0.5",
        )  # fmt: skip
        run = f"{LAUNCH} {' '.join(map(str, options))}"
        env = {"RUNPOD_API_BASE_URL": service.address, "NPROC_PER_NODE": "1"}
        wish = PodWish(
            "mine", IMAGE, ("h100_80",), volume="vol1", command=f"megatron-recipe launch run --idle-minutes 0 {run}",
            env=env,
        )  # fmt: skip
        api = RunPod.of()
        pod_id = place(api, wish, lambda one: rent(api, wish, 1.0, one))["id"]
        keeper = Keeper(api, wish, 1.0, every_seconds=0.3)
        thread = threading.Thread(target=keeper.keep, args=(pod_id,), daemon=True)
        thread.start()
        deadline = time.monotonic() + 120
        while not list(run_dir.glob("checkpoints/step_*/checkpoint.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        service.take_away(pod_id)
        thread.join(120)
        assert not thread.is_alive(), (tmp_path / "pod.log").read_text()[-3000:]
    said = (tmp_path / "pod.log").read_text()
    names = [event["event"] for event in events(run_dir)]
    assert names[0] == "start", said
    assert "resume" in names, said
    resumed = next(event for event in events(run_dir) if event["event"] == "resume")
    assert 0 < resumed["step"] < 16
    assert names[-1] == "end"
    assert events(run_dir)[-1]["step"] == 16
    assert f"pod {pod_id} is deleted with its disk" in said
    assert service.pods == {}
    assert KEY not in said


@NEEDS_RSYNC
def test_a_run_is_copied_after_its_checkpoints_and_then_shuts_its_machine_down(dataset: Path, tmp_path: Path) -> None:
    run_dir, there, down = tmp_path / "runs" / "one", tmp_path / "there", tmp_path / "down"
    done = megatron_recipe(
        "train", "gpt_tiny_cpu",
        *arguments(
            dataset, run_dir, "checkpoint.save_every_steps=3", "train.stop_at_step=9", f"checkpoint.sync_to={there}",
            "budget.at_end=stop", "budget.shut_down_after_seconds=0.1", f"budget.shut_down_command=touch {down}",
        ),
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    copied = [event for event in events(run_dir) if event["event"] == "run_copied"]
    assert copied[-1]["step"] == 9
    newest = there / "one" / "checkpoints" / "step_00000009"
    assert damage(newest) is None
    assert json.loads((newest / "checkpoint.json").read_text())["step"] == 9
    assert down.exists()
    lines = done.stderr.splitlines()
    ends = next(index for index, line in enumerate(lines) if line.startswith("done at step 9"))
    assert "is shut down in 0 s" in "\n".join(lines[ends:])


@NEEDS_RSYNC
def test_a_copy_that_fails_is_a_warning_and_a_mistake_shuts_nothing_down(dataset: Path, tmp_path: Path) -> None:
    run_dir, down = tmp_path / "runs" / "one", tmp_path / "down"
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "one").touch()  # where the copy's folder would be
    ending = ("budget.at_end=stop", "budget.shut_down_after_seconds=0", f"budget.shut_down_command=touch {down}")
    place = f"checkpoint.sync_to={tmp_path}/there"
    settings = arguments(dataset, run_dir, "train.stop_at_step=2", "checkpoint.save_every_steps=1", place)
    done = megatron_recipe("train", "gpt_tiny_cpu", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "copy_failed" in [event["event"] for event in events(run_dir)]
    assert "warning: the run could not be copied" in done.stderr
    assert f"run megatron-recipe sync {run_dir} --to {tmp_path}/there" in done.stderr
    wrong = arguments(dataset, run_dir, "model.num_heads=3", *ending)
    assert megatron_recipe("train", "gpt_tiny_cpu", *wrong, cwd=tmp_path).returncode == 2
    assert not down.exists()
