"""launch/autodl/*.sh on a made-up instance: its disks are folders, and pip and the GPU write down their calls."""

import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/usr/bin/env bash
echo "python $*" >>"$CALLS"
case "$*" in
    *"-c import torch"*) echo 2.11.0_cu130 ;;
    *"pip wheel"*) [[ -z ${PIP_FAILS:-} ]] || exit 1
        while [[ $1 != --wheel-dir ]]; do shift; done
        touch "$2/transformer_engine_torch-2.20.2-cp312.whl" ;;
esac
"""
SETUP_ENV = """#!/usr/bin/env bash
echo "setup_env with $PYTHON cache $PIP_CACHE_DIR" >>"$CALLS"
mkdir -p .venv/bin && cp "$STUBS/venv_python" .venv/bin/python && touch .venv/.complete
printf '#!/bin/sh\\necho "recipe $*" >>"$CALLS"\\n' >.venv/bin/megatron-recipe && chmod +x .venv/bin/*
"""


@dataclass
class Instance:
    """A checkout, a data disk and a file storage."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", f"launch/autodl/{script}", *arguments], cwd=self.folder / "checkout", text=True,
            env={**self.environment, **environment}, capture_output=True, timeout=30,
        )  # fmt: skip

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    shutil.copytree(ROOT / "launch" / "autodl", tmp_path / "checkout" / "launch" / "autodl")
    (tmp_path / "checkout" / "launch" / "setup_env.sh").write_text(SETUP_ENV)
    stubs = tmp_path / "stubs"
    for folder in ("stubs", "data", "fs", "home"):
        (tmp_path / folder).mkdir()
    there = {"venv_python": PYTHON, "python3.12": PYTHON, "nvidia-smi": "#!/bin/sh\necho GPU 0\n"}
    there["df"] = "#!/bin/sh\necho Avail\necho '   25'\n"
    for name, text in {**there, **dict.fromkeys(("rsync", "rclone", "tmux"), "#!/bin/sh\n")}.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    return Instance(
        tmp_path,
        {
            "PATH": f"{stubs}:{os.environ['PATH']}", "HOME": str(tmp_path / "home"), "STUBS": str(stubs),
            "CALLS": str(tmp_path / "calls"), "AUTODL_DATA": str(tmp_path / "data"), "AUTODL_FS": str(tmp_path / "fs"),
        },
    )  # fmt: skip


def test_an_instance_is_set_up_and_the_wheel_is_compiled_once(instance: Instance) -> None:
    done = instance.run("setup.sh")
    assert done.returncode == 0, done.stderr
    data, checkout = instance.folder / "data", instance.folder / "checkout"
    assert (checkout / "runs").resolve() == data / "runs"
    calls = instance.calls()
    assert calls[0] == f"setup_env with {instance.folder}/stubs/python3.12 cache {data}/cache/pip"
    kept = instance.folder / "fs" / "wheels" / "engine-2.20.2-torch-2.11.0_cu130"
    assert [path.name for path in kept.iterdir()] == ["transformer_engine_torch-2.20.2-cp312.whl"]
    assert "pip install --constraint requirements.lock" in calls[-2]
    assert f"--find-links {kept}" in calls[-2]
    assert calls[-1] == "recipe doctor"
    assert instance.run("setup.sh").returncode == 0
    assert sum("pip wheel" in call for call in instance.calls()) == 1


def test_a_wheel_that_was_not_finished_is_not_taken(instance: Instance) -> None:
    assert instance.run("setup.sh", PIP_FAILS="1").returncode != 0
    assert instance.run("setup.sh").returncode == 0
    assert sum("pip wheel" in call for call in instance.calls()) == 2


def test_programs_that_lack_are_installed(instance: Instance) -> None:
    stubs = instance.folder / "stubs"
    for name in ("rsync", "rclone", "tmux"):
        (stubs / name).unlink()
    (stubs / "apt-get").write_text('#!/bin/sh\necho "apt-get $*" >>"$CALLS"\n')
    (stubs / "apt-get").chmod(0o755)
    for name in (
        "bash",
        "cat",
        "chmod",
        "cp",
        "dirname",
        "mkdir",
        "mktemp",
        "mv",
        "ln",
        "rmdir",
        "tail",
        "touch",
    ):
        (stubs / name).symlink_to(str(shutil.which(name)))
    for name in ("env", "nproc", "tr"):
        (stubs / name).symlink_to(str(shutil.which(name)))
    assert instance.run("setup.sh", PATH=str(stubs)).returncode == 0
    assert "apt-get install -y -qq --no-install-recommends rsync rclone tmux" in instance.calls()


def test_without_a_gpu_data_can_be_prepared(instance: Instance) -> None:
    (instance.folder / "stubs" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    done = instance.run("setup.sh")
    assert done.returncode == 0, done.stderr
    assert "无卡模式" in done.stderr
    assert not any("transformer" in call for call in instance.calls())


def test_a_small_system_disk_is_said_before_anything_is_installed(instance: Instance) -> None:
    (instance.folder / "stubs" / "df").write_text("#!/bin/sh\necho Avail\necho '   12'\n")
    done = instance.run("setup.sh")
    assert done.returncode == 2
    assert "12 GB are free on the system disk, and 14 are needed" in done.stderr
    assert instance.calls() == []
    assert instance.run("setup.sh", "--data-only").returncode == 0


def test_it_says_where_it_is_not_an_instance(instance: Instance) -> None:
    done = instance.run("setup.sh", AUTODL_DATA=str(instance.folder / "nowhere"))
    assert done.returncode == 2
    assert "is this an instance of AutoDL" in done.stderr
    assert instance.run("setup.sh", "--wrong").returncode == 2


def test_a_dry_run_changes_nothing(instance: Instance) -> None:
    before = sorted(instance.folder.rglob("*"))
    done = instance.run("setup.sh", "--dry-run")
    assert done.returncode == 0
    assert "Transformer Engine 2.20.2" in done.stderr
    assert sorted(instance.folder.rglob("*")) == before


def test_the_commands_of_the_page_as_written(instance: Instance) -> None:
    page = (ROOT / "docs" / "clouds.md").read_text(encoding="utf-8")
    lines = re.findall(r"^<!-- commands: autodl-instance -->\n```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        environment = {**instance.environment, "TENSORBOARD_PORT": str(free.getsockname()[1])}
    done = subprocess.run(
        ["bash", "-ec", "".join(lines)], cwd=instance.folder / "checkout", env=environment, capture_output=True,
        text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [call for call in instance.calls() if call.startswith("recipe launch")] == [
        "recipe launch run --idle-minutes 30 launch/pretrain_1b.sh --set data.datasets=datasets/main --budget 3000cny "
        "--price 8.88/h --set budget.at_end=stop"
    ]


def test_a_command_is_accelerated_and_a_run_is_logged(instance: Instance) -> None:
    turbo = instance.folder / "network_turbo"
    turbo.write_text("export https_proxy=http://turbo.example:1234\necho noise\n")
    done = instance.run("fast.sh", "printenv", "https_proxy", AUTODL_TURBO=str(turbo))
    assert done.stdout == "http://turbo.example:1234\n"
    assert instance.run("fast.sh", "true", AUTODL_TURBO=str(instance.folder / "none")).returncode == 0
    instance.run("setup.sh")
    recipe = instance.folder / "checkout" / ".venv" / "bin" / "megatron-recipe"
    recipe.write_text('#!/bin/sh\necho "said $*"; exit 3\n')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    done = instance.run(
        "start.sh", "--idle-minutes", "5", "launch/pretrain_1b.sh", "--set", "a=b", TENSORBOARD_PORT=port
    )
    assert done.returncode == 3
    said, log = f"--host 0.0.0.0 --port {port}", instance.folder / "data" / "run.log"
    deadline = time.monotonic() + 10  # both are written by processes of their own
    while not (said in "\n".join(instance.calls()) and "said" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert said in "\n".join(instance.calls())
    assert "said launch run --idle-minutes 5 launch/pretrain_1b.sh --set a=b" in log.read_text()
