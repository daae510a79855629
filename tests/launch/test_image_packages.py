"""image_packages.sh on a small project: the torch of an image such as NGC's stays, and a replaced one is noticed."""

import os
import subprocess
import zipfile
from pathlib import Path

from commands import ROOT
from test_setup import image_python


def wheel(folder: Path, name: str, modules: tuple[str, ...]) -> Path:
    """A package of empty modules."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        **dict.fromkeys(modules, "__version__ = '3.0'\n"),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def install(project: Path, python: Path, *wheels: Path) -> subprocess.CompletedProcess[str]:
    dependencies = ", ".join(f'"{path.name.split("-")[0]} @ {path.as_uri()}"' for path in wheels)
    (project / "pyproject.toml").write_text(
        f'[build-system]\nrequires = []\n[project]\nname = "mini"\nversion = "1.0"\ndependencies = [{dependencies}]\n'
        '[project.optional-dependencies]\ngpu = ["transformer-engine[pytorch]==2.20.2"]\n',
        encoding="utf-8",
    )
    return subprocess.run(
        ["bash", "launch/image_packages.sh", project / "venv"],
        cwd=project,
        env={**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "PIP_NO_INDEX": "1", "EXTRAS": "gpu"},
        capture_output=True,
        text=True,
    )


def test_the_image_torch_stays_and_a_replaced_one_ends_the_build(tmp_path: Path) -> None:
    python = image_python(tmp_path / "image")
    (python.parent / "python3").unlink(missing_ok=True)
    (python.parent / "python3").symlink_to(python)
    project = tmp_path / "project"
    (project / "launch").mkdir(parents=True)
    for name in ("image_packages.sh", "image_constraints.py", "image_requirements.py"):
        (project / "launch" / name).symlink_to(ROOT / "launch" / name)
    (project / "requirements.lock").write_text("torch==2.11.0\n", encoding="utf-8")

    good = install(project, python, wheel(tmp_path, "useful", ("useful.py",)))
    assert good.returncode == 0, good.stderr
    assert "keeping the image's torch: 2.9.0a0+nv" in good.stdout
    assert (project / "venv/.image_torch").read_text(encoding="utf-8").startswith("2.9.0a0+nv ")
    assert list((project / "venv").rglob("useful.cpython-312.pyc"))  # a user who is not root could not keep it

    bad = install(project, python, wheel(tmp_path, "replacing", ("torch/__init__.py",)))
    assert bad.returncode == 1
    assert "was replaced" in bad.stderr
