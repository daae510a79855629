"""datatrove's Ray executor, waited for: tasks on the nodes of a Ray cluster that share the work folder."""

import importlib.util
import logging
from pathlib import Path

from datatrove.executor.ray import RayPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger
from datatrove.utils.stats import PipelineStats

from data_prep.executors.task_errors import forget, raise_recorded, recorded
from data_prep.recipe import ExecutorSettings
from megatron_recipe.errors import MachineError


class RayExecutor(RayPipelineExecutor):
    """Runs the incomplete tasks on a cluster; a task's error is raised here as it was raised there."""

    folder: Path
    address: str | None

    @classmethod
    def of(cls, settings: ExecutorSettings, blocks: list[PipelineStep], tasks: int, folder: Path) -> "RayExecutor":
        """The executor for these settings.

        Raises:
            MachineError: Ray is not installed.
        """
        if importlib.util.find_spec("ray") is None:
            raise MachineError("executor.kind=ray: Ray is not installed; pip install 'megatron-recipe[ray]'")
        executor = cls(
            blocks,
            tasks=tasks,
            workers=settings.workers or -1,
            logging_dir=str(folder),
            cpus_per_task=settings.cpus_per_task,
            mem_per_cpu_gb=settings.memory_per_cpu_gb,
        )
        executor.folder, executor.address = folder.absolute(), settings.address
        return executor

    def run(self) -> None:
        """Run the tasks that are not complete; the first error of one is raised here."""
        import ray

        if not self.get_incomplete_ranks():
            return
        forget(self.folder)
        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
        super().run()
        raise_recorded(self.folder)
        missing = self.get_incomplete_ranks()
        if missing:
            raise MachineError(
                f"Ray ended {len(missing)} of {self.tasks} tasks before they were done (the first is {missing[0]}): a "
                "node was lost or out of memory; perhaps raise executor.memory_per_cpu_gb, and run the same command "
                "again: it continues"
            )

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        logger.disable("datatrove")
        with recorded(self.folder, rank):
            return super()._run_for_rank(rank, local_rank, node_rank)
