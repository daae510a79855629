"""shellcheck over every shell script, and hadolint over the Dockerfile, where these programs are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from commands import ROOT

SCRIPTS = sorted(
    [
        *ROOT.glob("launch/**/*.sh"),
        *ROOT.glob("launch/*.sbatch"),
        *ROOT.glob("tests/*/*.sh"),
        *ROOT.glob("benchmarks/*.sh"),
    ],
    key=lambda path: str(path),
)


def is_python_too(script: Path) -> bool:
    """Whether bash leaves the file with its second line, and Python reads the rest."""
    return script.read_text(encoding="utf-8").splitlines()[1].startswith('"exec"')


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    files = []
    for script in SCRIPTS:
        if is_python_too(script):
            first = tmp_path / script.name
            first.write_text("\n".join(script.read_text(encoding="utf-8").splitlines()[:2]) + "\n", encoding="utf-8")
            files.append(first)
        else:
            files.append(script)
    done = subprocess.run(["shellcheck", "-x", *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(["hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_script_is_read_by_bash() -> None:
    assert len(SCRIPTS) > 10
    for script in SCRIPTS:
        done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
        assert done.returncode == 0 or is_python_too(script), done.stderr
