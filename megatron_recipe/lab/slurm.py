"""A comparison on a cluster: a Slurm array with a task for each run, on nodes that share the comparison's folder."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from megatron_recipe.errors import MachineError
from megatron_recipe.files import atomic_file, write_json
from megatron_recipe.lab.plan import Plan
from megatron_recipe.lab.result import PLAN
from megatron_recipe.lab.run_states import outcome_of

JOB, SCRIPT, LOGS = "job.json", "slurm.sbatch", "slurm"
SAVE_SECONDS = 120
"""Before a task's time is up: what a save may take."""


def submit(plan: Plan, options: tuple[str, ...]) -> str:
    """Submit the runs that are not finished; returns the job's number.

    A task that is preempted or out of time saves; the same command submits what is left.

    Args:
        options: of sbatch, such as `--partition=gpu` and `--gpus=1`.

    Raises:
        MachineError: there is no sbatch, or it refuses.
    """
    if shutil.which("sbatch") is None:
        raise MachineError("--slurm: there is no sbatch on this machine; run on a node from which jobs are submitted")
    numbers = [run.number for run in plan.runs if outcome_of(run.folder).state != "finished"]
    script = plan.folder / SCRIPT
    (plan.folder / LOGS).mkdir(parents=True, exist_ok=True)
    with atomic_file(script) as file:
        file.write(script_text(plan.folder))
    command = ["sbatch", "--parsable", f"--array={','.join(map(str, numbers))}", *options, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineError(f"sbatch refused the job: {done.stderr.strip()}; check --sbatch {shlex.join(options)}")
    job = done.stdout.strip().split(";")[0]
    write_json(plan.folder / JOB, {"job": job, "runs": numbers})
    return job


def script_text(folder: Path) -> str:
    """The script of every task: it does the run whose number is the task's."""
    place = folder.absolute()
    python, out = shlex.quote(sys.executable), shlex.quote(str(place))
    return f"""#!/usr/bin/env bash
# A task of a comparison's array, written and submitted by `megatron-recipe lab compare … --slurm`.
#SBATCH --job-name=lab-{place.name}
#SBATCH --output={place / LOGS}/%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --signal=B:USR1@{SAVE_SECONDS}
cd "$SLURM_SUBMIT_DIR"
exec {python} -m megatron_recipe.cli lab compare {out}/{PLAN} --out {out} --only "$SLURM_ARRAY_TASK_ID"
"""


def running_job(folder: Path) -> str | None:
    """The array that is in the queue for this comparison."""
    path = folder / JOB
    if not path.is_file():
        return None
    from data_prep.executors.slurm import in_queue

    job = str(json.loads(path.read_text(encoding="utf-8"))["job"])
    return job if in_queue(job) else None
