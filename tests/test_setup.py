"""Set-up: the lock pins what pyproject asks for, and setup_env.sh, run on a small project, keeps an image's torch."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "launch"))

from image_constraints import constraints_for_image, normalized, pins_in  # noqa: E402

BASE_PYTHON = Path(sys.base_prefix) / "bin" / "python3.12"

# A build backend of its own, so that `pip install -e .` needs no index. It waits where a test asks for it.
BACKEND = """
import os, time, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    if os.path.exists("wait"):
        open("waiting", "w").close()
        time.sleep(60)
    name = "mini-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\\nName: mini\\nVersion: 1.0\\nProvides-Extra: dev\\n"
    tags = "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files = {"mini-1.0.dist-info/METADATA": metadata, "mini-1.0.dist-info/WHEEL": tags, "mini.py": ""}
    for path in MODULES:
        files[path] = "__version__ = '3.0'\\n"
    files["mini-1.0.dist-info/RECORD"] = "".join(f"{path},,\\n" for path in [*files, "mini-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""


def small_project(folder: Path, modules: list[str]) -> Path:
    """A project with the real set-up script whose installation puts `modules` into the venv."""
    (folder / "launch").mkdir(parents=True)
    for name in ("launch/setup_env.sh", "launch/image_constraints.py"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "requirements.lock").write_text("torch==2.11.0\n")
    (folder / "backend.py").write_text(BACKEND.replace("MODULES", repr(modules)))
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "mini"\nversion = "1.0"\n[project.optional-dependencies]\ndev = []\n'
    )
    return folder


def image_python(folder: Path) -> Path:
    """A Python that brings a torch, as a GPU image's does."""
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", folder], check=True)
    packages = folder / "lib/python3.12/site-packages"
    (packages / "torch").mkdir()
    (packages / "torch/__init__.py").write_text("__version__ = '2.9.0a0+nv'\n")
    info = packages / "torch-2.9.0a0+nv.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.0a0+nv\n")
    return folder / "bin/python"


def set_up(project: Path, python: Path | str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "launch/setup_env.sh", *arguments],
        cwd=project,
        env={**os.environ, "PIP_NO_INDEX": "1", "PYTHON": str(python), **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_the_lock_pins_every_dependency_and_holds_no_address():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = pins_in(lock)
    for requirement in wanted:
        name, version = re.fullmatch(r"([\w-]+)(?:\[\w+\])?(.*)", requirement).groups()
        assert normalized(name) in pins, f"{name} is missing from requirements.lock"
        if version.startswith("=="):
            assert pins[normalized(name)].endswith(version), requirement
    assert pins["torch"] == "torch==2.11.0"
    for line in pins.values():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


def test_the_script_names_no_index():
    text = (ROOT / "launch/setup_env.sh").read_text(encoding="utf-8") + (ROOT / "Makefile").read_text(encoding="utf-8")
    assert not re.search(r"https?://|--(extra-)?index-url|--isolated|-i ", text)


def test_constraints_keep_what_the_image_built_against_its_torch():
    lock = "torch==2.11.0\nnvidia-nccl-cu13==2.28.9\nnumpy==2.5.5\nscipy==1.18.1\npandas==3.1.1\nrensa==0.5.0 # why\n"
    installed = {
        "torch": "2.9.0a0+nv",
        "transformer-engine": "2.20.2",
        "apex": "0.1",
        "numpy": "1.26.4",
        "scipy": "1.16",
    }
    lines = constraints_for_image(lock, installed, constrained_by_image=["pandas"])
    assert lines == ["apex==0.1", "numpy==1.26.4", "torch==2.9.0a0+nv", "transformer-engine==2.20.2", "rensa==0.5.0"]


def test_without_a_python_3_12_one_line_says_how_to_get_it(tmp_path):
    project = small_project(tmp_path / "project", [])
    result = set_up(project, "/bin/false")
    assert result.returncode == 1 and "PYTHON=/bin/false" in result.stderr

    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "dirname", "uname", "ls", "sort"):
        (tools / tool).symlink_to(shutil.which(tool))
    shim = tools / "python3.12"  # as pyenv's shim of a version that is not selected
    shim.write_text("#!/bin/bash\necho 'pyenv: python3.12: command not found' >&2; exit 127\n")
    shim.chmod(0o755)
    lonely = {
        "PYTHON": "",
        "PATH": str(tools),
        "HOME": str(tmp_path),
        "PYENV_ROOT": str(tmp_path),
        "CONDA_PREFIX": str(tmp_path),
    }
    result = set_up(project, "", **lonely)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and "apt-get install python3.12-venv" in result.stderr

    version = tmp_path / "versions/3.12.1/bin"
    version.mkdir(parents=True)
    (version / "python3.12").symlink_to(BASE_PYTHON)
    result = set_up(project, "", "--dry-run", **lonely)
    assert result.returncode == 0 and str(version / "python3.12") in result.stderr
    assert not (project / ".venv").exists()


def test_on_a_mac_one_line_points_to_the_container(tmp_path):
    project = small_project(tmp_path / "project", [])
    (tmp_path / "uname").write_text("#!/bin/bash\necho Darwin\n")
    (tmp_path / "uname").chmod(0o755)
    result = set_up(project, BASE_PYTHON, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert result.returncode == 1
    assert "macOS" in result.stderr and "README" in result.stderr and len(result.stderr.splitlines()) == 1


def test_the_image_torch_stays_and_a_replaced_one_is_noticed(tmp_path):
    image = image_python(tmp_path / "image")
    project = small_project(tmp_path / "good", [])
    result = set_up(project, image)
    assert result.returncode == 0, result.stderr
    assert (project / ".venv/.complete").exists()
    assert (project / ".venv/constraints.txt").read_text() == "torch==2.9.0a0+nv\n"
    found = subprocess.run(
        [project / ".venv/bin/python", "-c", "import torch, mini; print(torch.__version__)"],
        capture_output=True,
        text=True,
    )
    assert found.stdout == "2.9.0a0+nv\n"

    project = small_project(tmp_path / "bad", ["torch/__init__.py"])
    result = set_up(project, image)
    assert result.returncode == 1
    assert "was replaced" in result.stderr
    assert not (project / ".venv/.complete").exists()


def test_interrupted_leaves_nothing_that_counts_as_complete_and_the_next_one_starts_afresh(tmp_path):
    project = small_project(tmp_path / "project", ["torch/__init__.py"])
    (project / "wait").touch()
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PYTHON": str(BASE_PYTHON)}
    process = subprocess.Popen(
        ["bash", "launch/setup_env.sh"],
        cwd=project,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (project / "waiting").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not (project / ".venv/.complete").exists()
    (project / ".venv/leftover").touch()

    (project / "wait").unlink()
    result = set_up(project, BASE_PYTHON)
    assert result.returncode == 0, result.stderr
    assert "interrupted" in result.stderr
    assert (project / ".venv/.complete").exists() and not (project / ".venv/leftover").exists()


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_make_sets_up_only_once(target, tmp_path):
    """With a complete .venv no target runs the set-up; with an older one every target does."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    project = small_project(tmp_path / "project", [])
    shutil.copy(ROOT / "Makefile", project)
    (project / ".venv").mkdir()
    (project / ".venv/.complete").touch()

    def plan() -> str:
        return subprocess.run(["make", "-n", target], cwd=project, capture_output=True, text=True, check=True).stdout

    assert "setup_env" not in plan()
    later = time.time() + 10
    os.utime(project / "requirements.lock", (later, later))
    assert "setup_env" in plan()
