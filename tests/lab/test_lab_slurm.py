"""A comparison as a Slurm array: what is submitted, to an `sbatch` that writes down what it was given."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from comparison_plans import plan_of

from megatron_recipe.errors import MachineError
from megatron_recipe.lab.compare_command import write_plan
from megatron_recipe.lab.plan import Plan
from megatron_recipe.lab.slurm import running_job, submit
from megatron_recipe.loggers.records import append_record

SBATCH = """#!/bin/sh
[ -e "$0.refuses" ] && { echo "sbatch: error: invalid partition" >&2; exit 1; }
echo "$@" > "$0.given"
echo "42;cluster"
"""
SQUEUE = """#!/bin/sh
[ -e "$0.empty" ] || echo "42_0"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Slurm's commands, first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE)):
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = plan_of("learning_rate", tmp_path / "out", seeds="1,2")
    write_plan(plan)
    return plan


def test_each_run_that_is_not_finished_is_a_task(cluster: Path, plan: Plan) -> None:
    plan.runs[1].folder.mkdir(parents=True)
    append_record(plan.runs[1].folder / "events.jsonl", {"event": "end"})
    assert submit(plan, ("--partition=gpu", "--gpus=1")) == "42"
    script = plan.folder / "slurm.sbatch"
    given = (cluster / "sbatch.given").read_text(encoding="utf-8").split()
    assert given == ["--parsable", "--array=0,2,3,4,5", "--partition=gpu", "--gpus=1", str(script)]
    assert json.loads((plan.folder / "job.json").read_text(encoding="utf-8"))["job"] == "42"


def test_a_task_does_the_run_of_its_number(cluster: Path, plan: Plan, tmp_path: Path) -> None:
    submit(plan, ())
    script = (plan.folder / "slurm.sbatch").read_text(encoding="utf-8")
    said = tmp_path / "said"
    echo = script.replace(sys.executable, f"echo >{said}")
    environment = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_ARRAY_TASK_ID": "3", "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-c", echo], env=environment, check=True)
    out = plan.folder.absolute()
    expected = f"-m megatron_recipe.cli lab compare {out}/plan.yaml --out {out} --only 3"
    assert said.read_text(encoding="utf-8").split() == expected.split()
    assert (plan.folder / "slurm").is_dir()  # where the tasks' output goes: Slurm makes no folder


def test_a_job_in_the_queue_is_known(cluster: Path, plan: Plan) -> None:
    assert running_job(plan.folder) is None
    submit(plan, ())
    assert running_job(plan.folder) == "42"
    (cluster / "squeue.empty").touch()
    assert running_job(plan.folder) is None


def test_what_slurm_says_is_the_users_message(cluster: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    (cluster / "sbatch.refuses").touch()
    with pytest.raises(MachineError, match="invalid partition; check --sbatch --partition=none"):
        submit(plan, ("--partition=none",))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError, match="no sbatch"):
        submit(plan, ())
