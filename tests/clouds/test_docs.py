"""docs/clouds.md as a new user follows it: its commands, in order, as written, against the services on 127.0.0.1.

A secret is planted for each of them, and searched for in all they print, all they leave, and all command lines.
"""

import base64
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from autodl_service import PASSWORD, TOKEN, AutoDLService
from commands import ENVIRONMENT
from copied_run import content, make_run
from lambda_service import KEY as LAMBDA_KEY
from lambda_service import LambdaService
from runpod_service import KEY, RunPodService

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^<!-- commands: ([a-z-]+) -->\n```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
WANDB = "wandb-planted-0815"
REMOTE = ("/workspace", "/lambda/nfs/recipe", "/root/autodl-tmp", "/root/autodl-fs", "/data/runs")
SSH = """#!/usr/bin/env bash
# Runs on this machine what it is asked to run on the other one, whose folders lie in $FAR.
echo "ssh $*" >>"$FAR/../ssh.log"
while [[ $1 == -* ]]; do [[ $1 != -[poil] ]] || shift; shift; done
shift
command="$*"
for place in %s; do command=${command//$place/$FAR$place}; done
[[ -z $command ]] || exec bash -c "$command"
"""


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of the page's blocks of commands, in order."""
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


class User:
    """Somebody with a home, a dataset, ssh to other machines, and keys in files."""

    def __init__(self, home: Path) -> None:
        self.home, self.far = home, home / "far"
        for folder in ("bin", "far", "work/datasets/main"):
            (home / folder).mkdir(parents=True)
        (home / "bin" / "ssh").write_text(SSH % " ".join(REMOTE))
        recipe = f'#!/bin/sh\nexec {sys.executable} -m megatron_recipe.cli "$@"\n'
        (home / "bin" / "megatron-recipe").write_text(recipe)
        (home / "bin" / "sudo").write_text('#!/bin/sh\n[ "$2" != logs ] || echo step 40\n')
        for name in ("ssh", "megatron-recipe", "sudo"):
            (home / "bin" / name).chmod(0o755)
        for name in ("train.bin", "manifest.json"):
            (home / "work" / "datasets" / "main" / name).write_bytes(os.urandom(3000))
        for place in REMOTE:
            (self.far / place.strip("/")).mkdir(parents=True)
            make_run(self.far / place.strip("/") / "runs" / "gpt_1b", 10)
        for name, key in ((".runpod_key", KEY), (".autodl_token", TOKEN), (".lambda_key", LAMBDA_KEY)):
            (home / name).write_text(f"{key}\n")
            (home / name).chmod(0o600)
        self.command_lines: set[str] = set()

    def ssh_log(self) -> str:
        return (self.home / "ssh.log").read_text()

    def follow(self, kind: str, **environment: str) -> str:
        """Run all blocks of a kind as one script; returns all that it printed."""
        script = "set -e\n" + "\n".join(text for name, text in blocks("clouds.md") if name == kind)
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watcher.start()
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.home / "work", text=True, timeout=240, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, "HOME": str(self.home), "PATH": f"{self.home}/bin:{os.environ['PATH']}",
                 "FAR": str(self.far), **environment},
        )  # fmt: skip
        over.set()
        watcher.join()
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _watch(self, over: threading.Event) -> None:
        """Every command line of this machine, again and again, as `ps` shows them."""
        while not over.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.command_lines.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue

    def places_of(self, secret: str) -> list[str]:
        """Files and command lines that hold a secret, but for its own file."""
        files = [path for path in self.home.rglob("*") if path.is_file() and path.name[0] != "."]
        found = [str(path) for path in files if secret.encode() in path.read_bytes()]
        return found + [line for line in self.command_lines if secret in line]


@pytest.fixture
def user(tmp_path: Path) -> User:
    if shutil.which("rsync") is None:
        pytest.skip("apt-get install rsync")
    return User(tmp_path / "home")


def after_first_look(service: RunPodService, name: str) -> Callable[[Any], Any]:
    """Answers as the service, and ends a pod of this name once it has been looked at."""
    answer = service.answer

    def answering(asked: Any) -> Any:
        result = answer(asked)
        pod = service.pods.get(asked.path.rpartition("/")[2])
        if asked.method == "GET" and pod is not None and pod["name"] == name:
            del service.pods[pod["id"]]
        return result

    return answering


def test_runpod_as_written(user: User) -> None:
    with RunPodService() as service:
        service.answer = after_first_look(service, "spot")  # type: ignore[method-assign]
        said = user.follow("runpod", RUNPOD_API_BASE_URL=service.address, WANDB_API_KEY=WANDB)
    rented = [one.body for one in service.of("POST", "/v2/pods")]
    assert [(one["name"], one["gpu"]["id"]) for one in rented] == [
        ("data", "NVIDIA A100-SXM4-80GB"),
        ("megatron-recipe", "NVIDIA H100 80GB HBM3"),
    ]
    assert rented[1]["env"] == {"WANDB_API_KEY": WANDB}
    assert rented[1]["args"].startswith("megatron-recipe launch run --idle-minutes 30 launch/pretrain_1b.sh --run-dir ")
    assert rented[1]["mounts"] == {"network": [{"volumeId": "vol1", "path": "/workspace"}]}
    assert len(service.of("POST", "/graphql")) == 1
    assert service.pods == {}
    work = user.home / "work"
    assert content(user.far / "workspace" / "datasets" / "main") == content(work / "datasets" / "main")
    assert content(work / "runs" / "gpt_1b") == content(user.far / "workspace" / "runs" / "gpt_1b")
    assert re.search(r"^ssh -p 34446 -o HostKeyAlias=\S+ .*root@127\.0\.0\.1$", user.ssh_log(), re.MULTILINE)
    for words in ("RUNNING", "step 20", "its volume stays", "was terminated: its run is over"):
        assert words in said
    for secret in (KEY, WANDB):
        assert secret not in said
        assert user.places_of(secret) == []
    assert any("launch runpod up" in line for line in user.command_lines)


def test_autodl_as_written(user: User) -> None:
    (user.far / "root/autodl-tmp" / "run.log").write_text("step 30\n")
    with AutoDLService() as service:
        said = user.follow("autodl", AUTODL_API_BASE_URL=service.address)
    verbs = [one.path.rpartition("/")[2] for one in service.asked if one.path.rpartition("/")[2] != "list"]
    for verb in ("create", "snapshot", "status", "save", "power_off", "release", "deployment", "operate"):
        assert verb in verbs
    assert service.instances == {}
    assert service.deployments == {}
    assert (user.home / "work" / "runs" / "gpt_1b" / "checkpoints" / "step_00000010" / "checkpoint.json").exists()
    assert "step 30" in said
    for secret in (TOKEN, PASSWORD):
        assert secret not in said
        assert user.places_of(secret) == []


def test_lambda_as_written(user: User) -> None:
    with LambdaService() as service:
        said = user.follow("lambda", LAMBDA_API_BASE_URL=service.address)
    assert [one["status"] for one in service.instances.values()] == ["terminating"]
    disk = user.far / "lambda" / "nfs" / "recipe"
    assert content(disk / "datasets" / "main") == content(user.home / "work" / "datasets" / "main")
    assert content(user.home / "work" / "runs" / "gpt_1b") == content(disk / "runs" / "gpt_1b")
    assert "docker run --detach --name megatron-recipe --gpus all" in user.ssh_log()
    assert "step 40" in said
    assert LAMBDA_KEY not in said
    assert user.places_of(LAMBDA_KEY) == []


def test_sync_as_written(user: User) -> None:
    if shutil.which("rclone") is None:
        pytest.skip("apt-get install rclone")
    run = make_run(user.home / "work" / "runs" / "gpt_1b", 10)
    said = user.follow("sync", RCLONE_CONFIG_OSS_TYPE="local", RCLONE_CONFIG_OSS_SECRET=WANDB)
    assert content(user.home / "work" / "bucket" / "runs" / "gpt_1b") == content(run)
    assert content(user.far / "data" / "runs" / "gpt_1b") == content(run)
    assert WANDB not in said
    assert user.places_of(WANDB) == []


@pytest.mark.parametrize("variable", ["RUNPOD_API_KEY", "AUTODL_TOKEN"])
def test_a_key_that_others_can_read_is_refused(variable: str, user: User) -> None:
    file = user.home / "open_key"
    file.write_text("planted-4711")
    file.chmod(0o644)
    cloud = "runpod" if variable.startswith("RUNPOD") else "autodl"
    done = subprocess.run(
        [sys.executable, "-m", "megatron_recipe.cli", "launch", cloud, "status"], capture_output=True, text=True,
        env={**ENVIRONMENT, f"{variable}_FILE": str(file)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "chmod 600" in done.stderr
    assert "planted" not in done.stderr


def test_a_secret_is_taken_out_of_what_a_service_says() -> None:
    """A service that echoes the key in an error, plain and encoded."""
    echo = f"bad header Bearer {KEY}, {base64.b64encode(KEY.encode()).decode()}"
    with RunPodService() as service:
        service.answer = lambda asked: (418, {"title": "x", "detail": echo})  # type: ignore[method-assign]
        done = subprocess.run(
            [sys.executable, "-m", "megatron_recipe.cli", "launch", "runpod", "status"], capture_output=True, text=True,
            env={**ENVIRONMENT, "RUNPOD_API_KEY": KEY, "RUNPOD_API_BASE_URL": service.address},
        )  # fmt: skip
    assert done.returncode == 2
    assert "bad header Bearer [hidden], [hidden]" in done.stderr
    assert KEY not in done.stderr + done.stdout


@pytest.mark.parametrize("cloud", ["runpod", "autodl"])
def test_a_secret_is_taken_out_of_a_refusal_with_code_200(cloud: str) -> None:
    """GraphQL and AutoDL refuse so."""
    with RunPodService() if cloud == "runpod" else AutoDLService() as service:
        answer, key = service.answer, KEY if cloud == "runpod" else TOKEN

        def refuse(asked: Any) -> Any:
            if asked.path == "/graphql" or cloud == "autodl":
                return 200, {"code": "Bad", "msg": f"no {key}", "errors": [{"message": f"no {key}"}]}
            return answer(asked)

        service.answer = refuse
        up = ["up", "--image", "i", "--gpu", "h100_80", "--bid", "1", "--volume", "vol1"]
        command = ["launch", cloud, *(up if cloud == "runpod" else ["status"])]
        done = subprocess.run(
            [sys.executable, "-m", "megatron_recipe.cli", *command],
            capture_output=True, text=True,
            env={**ENVIRONMENT, "RUNPOD_API_KEY": KEY, "RUNPOD_API_BASE_URL": service.address, "AUTODL_TOKEN": TOKEN,
                 "AUTODL_API_BASE_URL": service.address},
        )  # fmt: skip
    assert done.returncode == 2
    assert "no [hidden]" in done.stderr
    assert key not in done.stderr + done.stdout


def test_both_languages_have_the_same_commands() -> None:
    assert blocks("clouds.md") == blocks("clouds.zh-CN.md")
    assert {kind for kind, _ in blocks("clouds.md")} == {"runpod", "autodl", "autodl-instance", "lambda", "sync"}


def test_the_commands_load_no_library_before_they_run() -> None:
    code = "import sys, megatron_recipe.cli; print('httpx2' in sys.modules, 'psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout == "False False\n"
