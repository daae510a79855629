"""Small runs of the real trainer, made once for all tests of this folder."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import run_warm


@pytest.fixture(scope="session")
def runs(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the finished runs `tied` and `untied_qk_norm`, two checkpoints each."""
    folder = tmp_path_factory.mktemp("runs")
    script = Path(__file__).with_name("train_small_runs.py")
    done = run_warm([sys.executable, str(script), str(dataset), str(folder)], folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run_copy(runs: Path, tmp_path: Path) -> Path:
    """A run that a test may damage."""
    return Path(shutil.copytree(runs / "tied", tmp_path / "run"))


@pytest.fixture(scope="session")
def exports(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Architecture → (folder, what `export_run` returned), each proved against Megatron."""
    from checkpoints_tools.to_hf import export_run

    folder = tmp_path_factory.mktemp("exports")
    return {
        "tied": (folder / "tied", export_run(runs / "tied", folder / "tied")),
        "untied_qk_norm": (
            folder / "untied",
            export_run(runs / "untied_qk_norm", folder / "untied", dtype="bfloat16"),
        ),
    }


@pytest.fixture(scope="session")
def family_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a folder for each case of the matrix: `hf`, `imported` and what Megatron computes, `reference`."""
    from hf_models import build, matrix, save

    from checkpoints_tools.from_hf import import_hf, plan_import

    root = tmp_path_factory.mktemp("families")
    for case in matrix():
        folder = save(build(case), root / str(case) / "hf")
        import_hf(plan_import(folder), folder.with_name("imported"), compare=False)
    script = Path(__file__).with_name("megatron_references.py")
    done = run_warm([sys.executable, str(script), str(root)], root)
    assert done.returncode == 0, done.stderr
    return root
