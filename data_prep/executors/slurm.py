"""datatrove's Slurm executor, waited for: one job array a list of blocks, on nodes that share the work folder."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.stats import PipelineStats

from data_prep.executors.task_errors import forget, raise_recorded, recorded
from data_prep.recipe import ExecutorSettings
from megatron_recipe.errors import MachineError
from megatron_recipe.files import write_json

POLL_SECONDS = 2.0
SHARED_FOLDER_SECONDS = 30.0
"""How long markers may take to be seen over a network file system after the job has left the queue."""


class SlurmExecutor(SlurmPipelineExecutor):
    """Submits the incomplete tasks as a job array and waits until it has left the queue.

    Ctrl-C cancels the array. A run that was killed leaves it running, and the next one waits for it instead of
    submitting tasks twice. A task's error is raised here as it was raised there.
    """

    folder: Path

    @classmethod
    def of(cls, settings: ExecutorSettings, blocks: list[PipelineStep], tasks: int, folder: Path) -> "SlurmExecutor":
        """The executor for these settings.

        Raises:
            MachineError: there is no sbatch here.
        """
        if shutil.which("sbatch") is None:
            raise MachineError(
                "executor.kind=slurm: there is no sbatch on this machine; run on a node of the cluster from which jobs "
                "are submitted, or set executor.kind=local"
            )
        executor = cls(
            blocks,
            tasks=tasks,
            time=settings.time,
            partition=settings.partition,
            cpus_per_task=settings.cpus_per_task,
            mem_per_cpu_gb=settings.memory_per_cpu_gb,
            workers=settings.workers or -1,
            job_name=f"{folder.parent.name.strip('.')}-{folder.name}",
            qos="",  # its default, "normal", is refused by clusters that have another
            env_command=f"export PATH={Path(sys.executable).parent}:$PATH",
            sbatch_args=dict(settings.sbatch),
            logging_dir=str(folder),
            requeue_signals=None,
        )
        executor.folder = folder.absolute()
        return executor

    def run(self) -> None:
        """On the submitting node: submit and wait. Inside a job: run the job's task."""
        import os

        if "SLURM_ARRAY_TASK_ID" in os.environ:
            super().run()
            return
        job = self._running_job() or self._submit()
        if job:
            with _cancelled_on_interrupt(job):
                self._wait(job)
        raise_recorded(self.folder)
        self._require_complete()

    def launch_merge_stats(self) -> None:
        """Nothing: the statistics are summed by whoever waits."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        with recorded(self.folder, rank):
            return super()._run_for_rank(rank, local_rank, node_rank)

    def _submit(self) -> str | None:
        forget(self.folder)
        try:
            self.launch_job()
        except subprocess.CalledProcessError as error:
            raise MachineError(
                f"sbatch refused the job (exit {error.returncode}, its message is above); check executor.partition="
                f"{self.partition}, executor.time={self.time} and executor.sbatch"
            ) from error
        if self.job_id == -1:  # all tasks are complete
            return None
        write_json(self._job_file, {"job": self.job_id})
        return str(self.job_id)

    @property
    def _job_file(self) -> Path:
        return self.folder / "job.json"

    def _running_job(self) -> str | None:
        """The array that an earlier, killed run left in the queue."""
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            job = str(json.loads(self._job_file.read_text(encoding="utf-8"))["job"])
            return job if in_queue(job) else None
        return None

    def _wait(self, job: str) -> None:
        while in_queue(job):
            time.sleep(POLL_SECONDS)
        deadline = time.monotonic() + SHARED_FOLDER_SECONDS
        while self.get_incomplete_ranks() and not self._has_errors() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _has_errors(self) -> bool:
        return any((self.folder / "errors").glob("*.json"))

    def _require_complete(self) -> None:
        missing = self.get_incomplete_ranks()
        if missing:
            raise MachineError(
                f"Slurm ended {len(missing)} of {self.tasks} tasks before they were done (the first is {missing[0]}): "
                f"out of time or memory, or a node was lost; see {self.folder / 'slurm_logs'}, perhaps raise "
                "executor.time or executor.memory_per_cpu_gb, and run the same command again: it continues"
            )


def in_queue(job: str) -> bool:
    """Whether Slurm has tasks of the job that wait or run."""
    listed = subprocess.run(["squeue", "-h", "-j", job, "-o", "%i"], capture_output=True, text=True, check=False)
    # squeue fails for a job that it has forgotten, and also when its controller does not answer
    if listed.returncode and "Invalid job id" not in listed.stderr:
        return True
    return bool(listed.stdout.strip())


@contextlib.contextmanager
def _cancelled_on_interrupt(job: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        handler: Any = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave the job
        subprocess.run(["scancel", job], check=False)
        signal.signal(signal.SIGINT, handler)
        raise
