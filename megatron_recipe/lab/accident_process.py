"""Accidents inside a run's process: weight decay where it does not belong, a slow disk, a small memory."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from megatron_recipe.config import Config
from megatron_recipe.lab.incident_changes import Change
from megatron_recipe.plan.memory import Memory, estimate_memory

SPARE = 1.3
"""Times what the plan says of a run's memory."""
HOST_BYTES = 16_000_000
"""For what a forward pass on a CPU takes besides tensors."""


class DecayNorms(Change):
    """Weight decay reaches the norms' weights too, as where an optimizer is given all parameters in one group."""

    kind: Literal["decay_norms"] = "decay_norms"
    """Which kind, in the file."""

    @contextmanager
    def inside(self, config: Config) -> Iterator[None]:
        """Have every parameter group of the optimizer decay."""
        from megatron_recipe import optimizer

        build = optimizer.build_optimizer

        def decaying(*arguments: Any) -> Any:
            built = build(*arguments)
            for group in built.param_groups:
                group["wd_mult"] = 1.0
            return built

        with _instead(optimizer, "build_optimizer", decaying):
            yield


class SlowReading(Change):
    """Every sample takes long to read, as from a network disk that many share."""

    kind: Literal["slow_reading"] = "slow_reading"
    """Which kind, in the file."""
    seconds_per_sample: float = Field(default=0.03, gt=0)
    """What a sample takes longer."""

    @contextmanager
    def inside(self, config: Config) -> Iterator[None]:
        """Wait before each sample; processes that read ahead inherit it."""
        from megatron_recipe.data import TrainingData

        read = TrainingData.__getitem__

        def slowly(data: TrainingData, place: Any) -> Any:
            time.sleep(self.seconds_per_sample)
            return read(data, place)

        with _instead(TrainingData, "__getitem__", slowly):
            yield


class MemoryLimit(Change):
    """The run may use only so much memory as a part of its batch needs."""

    kind: Literal["memory_limit"] = "memory_limit"
    """Which kind, in the file."""
    share_of_batch: float = Field(default=0.125, gt=0, le=1)
    """A micro-batch of this share of the global batch fits."""

    @contextmanager
    def inside(self, config: Config) -> Iterator[None]:
        """Limit the card's memory from the first step on; on a CPU what each forward pass may take, the peak of a step.

        A limit of the whole process would there hit threads and saves before it hits the model.
        """
        import torch

        from megatron_recipe import train

        planned, step = self._planned(config), train.forward_step

        def on_a_card(*arguments: Any) -> Any:
            share = SPARE * planned.allocated / torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, share))
            return step(*arguments)

        def on_a_host(*arguments: Any) -> Any:
            with _at_most(round(SPARE * (planned.activations + planned.loss)) + HOST_BYTES):
                return step(*arguments)

        with _instead(train, "forward_step", on_a_card if torch.cuda.is_available() else on_a_host):
            yield

    def _planned(self, config: Config) -> Memory:
        from megatron_recipe.dataset_facts import read_dataset_facts, vocabulary
        from megatron_recipe.mix import corpus_paths

        facts = [read_dataset_facts(Path(path)) for path in corpus_paths(config)]
        samples = max(1, round(self.share_of_batch * config.batch.global_batch_size_samples))
        recompute = "none" if config.memory.recompute == "auto" else config.memory.recompute
        return estimate_memory(config, vocabulary(config.model, facts), 1, samples, recompute)


@contextmanager
def _instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have `owner.name` be something else for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _at_most(more: int) -> Iterator[None]:
    """Let this process take so many bytes more than it has."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _data_bytes() -> int:
    """Private memory of this process that can be written, as the limit counts it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    return int(line.split()[1]) * 1024
