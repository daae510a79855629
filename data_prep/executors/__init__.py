"""datatrove's executors as the pipeline uses them: each returns when all tasks are done or raises a task's error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from datatrove.pipeline.base import PipelineStep

from data_prep.recipe import ExecutorSettings


class Executor(Protocol):
    """What runs the tasks that are not complete; the first error of one ends all and is raised."""

    def run(self) -> Any:
        """Run, and return when all tasks are complete."""
        ...


def make_executor(settings: ExecutorSettings, blocks: list[PipelineStep], tasks: int, folder: Path) -> Executor:
    """The executor that the recipe names.

    Args:
        folder: for datatrove's logs, statistics and completion markers.
    """
    makers: dict[str, Callable[[], Executor]] = {
        "local": lambda: _local(settings, blocks, tasks, folder),
        "slurm": lambda: _slurm(settings, blocks, tasks, folder),
        "ray": lambda: _ray(settings, blocks, tasks, folder),
    }
    return makers[settings.kind]()


def _local(settings: ExecutorSettings, blocks: list[PipelineStep], tasks: int, folder: Path) -> Executor:
    from data_prep.executors.local import LocalExecutor

    return LocalExecutor(blocks, tasks=tasks, workers=min(settings.num_workers, tasks), logging_dir=str(folder))


def _slurm(settings: ExecutorSettings, blocks: list[PipelineStep], tasks: int, folder: Path) -> Executor:
    from data_prep.executors.slurm import SlurmExecutor

    return SlurmExecutor.of(settings, blocks, tasks, folder)


def _ray(settings: ExecutorSettings, blocks: list[PipelineStep], tasks: int, folder: Path) -> Executor:
    from data_prep.executors.ray import RayExecutor

    return RayExecutor.of(settings, blocks, tasks, folder)
