"""The launch files start by themselves, from anywhere, without an activated environment.

That torchrun starts them too, with two processes, is what test_parallel_layouts.py does.
"""

import json
import subprocess
from pathlib import Path

import pytest
from commands import ENVIRONMENT, LAUNCH, ROOT, SECONDS, sets
from small_runs import arguments, records

pytestmark = pytest.mark.skipif(
    not (ROOT / ".venv/bin/torchrun").exists(), reason="launch files use the checkout's .venv"
)


def launch(file: Path, *options: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = ":".join(part for part in ENVIRONMENT["PATH"].split(":") if ".venv" not in part)
    clean = {name: value for name, value in ENVIRONMENT.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(file), *map(str, options)],
        cwd=cwd,
        env={**clean, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.slow
def test_the_tiny_model_trains_on_two_processes(dataset, tmp_path):
    folder = tmp_path / "run"
    result = launch(LAUNCH, *arguments(dataset, folder, "train.stop_at_step=2"), cwd=tmp_path, NPROC_PER_NODE="2")
    assert result.returncode == 0, result.stderr
    assert [record["step"] for record in records(folder, "train")] == [1, 2]
    assert json.loads((folder / "environment.json").read_text(encoding="utf-8"))["world_size"] == 2


@pytest.mark.parametrize("name", ["pretrain_tiny.sh", "pretrain_1b.sh"])
def test_one_process_is_the_default_or_asked_for(dataset, tmp_path, name):
    processes = {"NPROC_PER_NODE": "1"} if name == "pretrain_1b.sh" else {}  # its default is one for each GPU
    result = launch(ROOT / "launch" / name, "--dry-run", *sets(f"data.datasets={dataset}"), cwd=tmp_path, **processes)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("would train") == 1
    assert list(tmp_path.iterdir()) == []
