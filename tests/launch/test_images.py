"""The Dockerfile's structure, the images of launch/images.json, and building and pushing with a program that records.

That the steps run is shown by tests/container/build.sh, which needs root, buildah and the package index.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from commands import ROOT

from megatron_recipe.environment import TRAINING

sys.path.insert(0, str(ROOT / "launch"))

from image_constraints import constraints_with
from image_requirements import requirements

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IMAGES = json.loads((ROOT / "launch/images.json").read_text(encoding="utf-8"))
DIGEST = "sha256:" + "0123456789abcdef" * 4
# Answers as docker does, and writes down what it was asked: arguments to `calls`, standard input to `inputs`.
FAKE_DOCKER = f"""#!/usr/bin/env bash
echo "$*" >>"$RECORD/calls"
case $1 in
    login) cat >>"$RECORD/inputs"; echo kept >"$DOCKER_CONFIG/config.json"; echo "$DOCKER_CONFIG" >"$RECORD/config" ;;
    inspect) echo "other.example/x@sha256:no"; echo "${{@: -1}}" | sed 's|:[^:]*$|@{DIGEST}|' ;;
esac
"""


def instructions(stage: str) -> list[str]:
    """Instructions of one stage, comments and continuations taken out."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("FROM ") and line.endswith(f" AS {stage}"))
    stop = next((at for at in range(start + 1, len(lines)) if lines[at].startswith("FROM ")), len(lines))
    return [line for line in lines[start:stop] if line]


def test_the_default_is_the_variant_ngc() -> None:
    defaults = dict(re.findall(r"^ARG (BUILD_IMAGE|RUN_IMAGE)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert defaults == IMAGES["variants"]["ngc"]["build_args"]


@pytest.mark.parametrize("variant", IMAGES["variants"])
def test_every_base_has_a_digest_and_every_argument_is_one_of_the_dockerfile(variant: str) -> None:
    arguments = IMAGES["variants"][variant]["build_args"]
    for name, value in arguments.items():
        assert re.search(rf"^ARG {name}=", DOCKERFILE, re.MULTILINE), name
        if name.endswith("_IMAGE"):
            assert re.fullmatch(r"[a-z0-9./]+:[\w.-]+@sha256:[0-9a-f]{64}", value)
    assert ("cuda12" in variant) == (IMAGES["variants"][variant]["cuda"].startswith("12"))


def test_the_doctor_knows_the_driver_of_each_variant() -> None:
    from megatron_recipe.doctor.software import MINIMUM_DRIVER

    for variant in IMAGES["variants"].values():
        assert variant["driver"] == MINIMUM_DRIVER[variant["cuda"].split(".")[0]]


def test_the_environment_is_that_of_env_sh() -> None:
    (setting,) = [line for line in instructions("common") if "NCCL_DEBUG" in line]
    image = dict(pair.split("=", 1) for pair in setting.removeprefix("ENV ").split() if not pair.startswith("PATH="))
    script = f". {ROOT}/launch/env.sh; env"
    done = subprocess.run(["sh", "-euc", script], env={"PET_NPROC_PER_NODE": "gpu"}, capture_output=True, text=True)
    outside = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert image.items() <= outside.items()
    assert TRAINING.items() <= outside.items()
    assert {name for name in outside if name.startswith(("NCCL", "TORCH", "CUDA", "PYTORCH", "PET"))} <= image.keys()


@pytest.mark.parametrize("stage", ["runtime", "cloud"])
def test_a_build_ends_with_the_doctor(stage: str) -> None:
    runs = [line for line in instructions(stage) if line.startswith("RUN ")]
    assert runs[-1] == "RUN megatron-recipe doctor --build"


def test_the_default_image_is_not_root_and_code_comes_after_packages() -> None:
    assert DOCKERFILE.rindex(" AS runtime") > DOCKERFILE.rindex(" AS cloud")  # a build without --target takes the last
    users = [line for line in instructions("runtime") if line.startswith("USER ")]
    assert re.fullmatch(r"USER [1-9]\d+", users[-1])
    common = instructions("common")
    packages = common.index("COPY --from=build /opt/venv /opt/venv")
    code = common.index("COPY . .")
    assert packages < code
    assert not any(line.startswith(("ARG REVISION", "LABEL")) for line in common)  # they change with each commit


def test_apex_of_the_package_index_is_never_installed() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = list(tomllib.loads(project)["project"]["optional-dependencies"])
    wanted = requirements(project, extras)
    assert not [line for line in wanted if re.match(r"(nvidia-)?apex\b", line)]
    assert not [line for line in wanted if line.startswith("transformer-engine")]
    assert any(line.startswith("setuptools") for line in wanted)  # the code is installed without an index
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "launch").glob("image_*.sh")) + DOCKERFILE
    assert not re.search(r"pip[\w ./\"$-]* install[^\n&]*\bapex\b", scripts)


def test_another_torch_brings_its_own_cuda() -> None:
    lock = "torch==2.11.0\nnvidia-nccl-cu13==2.28.9\ncuda-toolkit==13.0.2\nnumpy==2.5.5\nscipy==1.18.1 # why\n"
    assert constraints_with(lock, ["torch==2.10.0 six==1"]) == [
        "torch==2.10.0",
        "six==1",
        "numpy==2.5.5",
        "scipy==1.18.1",
    ]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with what the scripts need, all of it committed, and a program that records instead of docker."""
    folder = tmp_path / "checkout"
    (folder / "launch").mkdir(parents=True)
    for name in ("build_image.sh", "push_image.sh", "image_common.sh", "images.py", "images.json"):
        shutil.copy(ROOT / "launch" / name, folder / "launch" / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], cwd=folder, check=True)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").write_text(FAKE_DOCKER, encoding="utf-8")
    (tools / "docker").chmod(0o755)
    return folder


def script(checkout: Path, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    record = checkout.parent
    path = f"{record / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    base = {"PATH": path, "HOME": str(record), "RECORD": str(record), "ENGINE": "docker"}
    return subprocess.run(
        ["bash", f"launch/{name}", *arguments],
        cwd=checkout,
        env={**base, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def calls(checkout: Path) -> list[str]:
    record = checkout.parent / "calls"
    return record.read_text(encoding="utf-8").splitlines() if record.exists() else []


def commit_of(checkout: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_build_is_tagged_by_its_commit_and_takes_the_variants_arguments(checkout: Path) -> None:
    (checkout.parent / ".config/pip").mkdir(parents=True)
    (checkout.parent / ".config/pip/pip.conf").touch()
    result = script(checkout, "build_image.sh", "--variant", "slim-cuda12", "--target", "cloud")
    assert result.returncode == 0, result.stderr
    (call,) = calls(checkout)
    revision = commit_of(checkout)
    assert call.startswith(f"build --target cloud --tag megatron-recipe:{revision[:12]}-slim-cuda12-cloud ")
    assert f"--build-arg REVISION={revision}" in call and "--build-arg OTHER_PINS=torch==2.10.0" in call
    assert f"--secret id=pip,src={checkout.parent}/.config/pip/pip.conf" in call


def test_dry_runs_start_nothing(checkout: Path) -> None:
    built = script(checkout, "build_image.sh", "--dry-run")
    assert built.returncode == 0 and "would run: docker build --target runtime" in built.stderr
    login = {"REGISTRY_USERNAME": "ada", "REGISTRY_PASSWORD": "not-to-be-seen"}
    pushed = script(checkout, "push_image.sh", "--registry", "docker.io/ada", "--dry-run", **login)
    assert pushed.returncode == 0 and "would run: docker push docker.io/ada/megatron-recipe:" in pushed.stderr
    assert calls(checkout) == []
    assert "not-to-be-seen" not in pushed.stdout + pushed.stderr


@pytest.mark.parametrize("name", ["build_image.sh", "push_image.sh"])
def test_a_tree_with_changes_is_refused(checkout: Path, name: str) -> None:
    (checkout / "pyproject.toml").write_text("changed", encoding="utf-8")
    result = script(checkout, name, *(["--registry", "docker.io/ada"] if name == "push_image.sh" else []))
    assert result.returncode == 2
    assert "M pyproject.toml" in result.stderr and "commit" in result.stderr
    assert calls(checkout) == []


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("build_image.sh", ["--variant", "fat"], "--variant fat is not known; ngc, "),
        ("build_image.sh", ["--target", "moon"], "--target moon"),
        ("build_image.sh", ["--tag", "x"], "--tag is not known"),
        ("push_image.sh", [], "--registry ''"),
        ("push_image.sh", ["--registry", "docker.io"], "HOST/NAME"),
        ("push_image.sh", ["--registry"], "--registry needs a value"),
    ],
)
def test_a_wrong_option_is_one_message_and_2(checkout: Path, name: str, arguments: list[str], words: str) -> None:
    result = script(checkout, name, *arguments)
    assert result.returncode == 2 and words in result.stderr
    assert calls(checkout) == []


@pytest.mark.parametrize("registry", ["docker.io/ada", "ghcr.io/ada", "registry.cn-hangzhou.aliyuncs.com/ada"])
def test_a_push_notes_the_digest_and_shows_the_password_to_nobody(checkout: Path, registry: str) -> None:
    login = {"REGISTRY_USERNAME": "ada", "REGISTRY_PASSWORD": "not-to-be-seen"}
    result = script(checkout, "push_image.sh", "--registry", registry, **login)
    assert result.returncode == 0, result.stderr
    image = f"{registry}/megatron-recipe:{commit_of(checkout)[:12]}-ngc"
    assert calls(checkout)[-2:] == [f"push {image}", calls(checkout)[-1]]
    assert calls(checkout)[0] == f"login --username ada --password-stdin {registry.split('/')[0]}"
    assert (checkout.parent / "inputs").read_text(encoding="utf-8") == "not-to-be-seen"
    assert not Path((checkout.parent / "config").read_text(encoding="utf-8").strip()).exists()  # what the login wrote
    assert "not-to-be-seen" not in "".join(calls(checkout)) + result.stdout + result.stderr

    (entry,) = json.loads((checkout / "launch/images.json").read_text(encoding="utf-8"))["pushed"]
    assert (entry["image"], entry["digest"], entry["driver"]) == (image, DIGEST, 580)
    assert entry["revision"] == commit_of(checkout)
    again = script(checkout, "push_image.sh", "--registry", registry)  # images.json may differ: a push writes it
    assert again.returncode == 0, again.stderr
    assert len(json.loads((checkout / "launch/images.json").read_text(encoding="utf-8"))["pushed"]) == 1


def test_a_push_without_a_digest_is_not_noted(checkout: Path) -> None:
    docker = checkout.parent / "bin/docker"
    docker.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    result = script(checkout, "push_image.sh", "--registry", "docker.io/ada")
    assert result.returncode == 1 and "no digest" in result.stderr
    assert json.loads((checkout / "launch/images.json").read_text(encoding="utf-8"))["pushed"] == []
