"""All that looks at a run while it trains and changes nothing in it: readings, messages, a profile, hangs."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megatron_recipe.config import Config
from megatron_recipe.gpu_monitor import GpuMonitor, gpu_of, gpu_summary
from megatron_recipe.hang_watch import HangWatch
from megatron_recipe.host_monitor import HostMonitor, TimedIterator
from megatron_recipe.messages import Messenger
from megatron_recipe.model_readings import ModelReadings
from megatron_recipe.model_summary import model_summary
from megatron_recipe.parallel import Ranks, stage_number
from megatron_recipe.profile_trace import StepProfiler
from megatron_recipe.rank_readings import gather_readings, values_of
from megatron_recipe.step_statistics import StepStatistics
from megatron_recipe.stragglers import ForwardTimer, StragglerWatch
from megatron_recipe.train_step import StepResult

HOST_FIELDS = ("host_", "process_", "disk_", "shared_")


class Observation:
    """The observers of one rank; those that exist once are None on all ranks but the first."""

    def __init__(self, config: Config, run_dir: Path, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        self.hang = HangWatch(run_dir, ranks.rank, config.parallel.timeout_seconds)
        self.profiler = StepProfiler(config, run_dir, ranks)
        self.gpu = GpuMonitor(gpu_of(ranks.device) if config.logging.gpu_readings else None)
        self.host = HostMonitor(run_dir)
        self.forward = ForwardTimer(ranks.device)
        self.stragglers = StragglerWatch()
        self.model = ModelReadings(config.logging.model_readings, config.optimizer.clip_grad_norm)
        self.steps = StepStatistics()
        self.grad_norm = 0.0
        """Of the last step, before clipping; 0 where its update was left out, since nothing was clipped then."""
        self.messenger = Messenger(config.messages, run_dir.absolute().name) if ranks.is_first else None
        self.batches: TimedIterator[Any] | None = None
        self.joules_before: float | None = None

    def timed(self, batches: Generator[Any]) -> TimedIterator[Any]:
        """`batches`, with the time waited for them in the next record."""
        self.batches = TimedIterator(batches)
        return self.batches

    def step_is_done(self, step: int, result: StepResult) -> bool:
        """Call after every step: the process lives, and the step may be one of a profile.

        Returns whether a profile was begun or written, which takes seconds that are no training.
        """
        self.steps.add(step, result.loss, result.grad_norm, is_updated=result.updated)
        self.grad_norm = result.grad_norm if result.updated else 0.0
        self.hang.beat()
        if self.messenger:
            self.messenger.beat()
        return self.profiler.step(step)

    def read(self, seconds: float, tokens: int) -> dict[str, Any]:
        """Fields of a record about the interval of `seconds` and `tokens` that ends now; all ranks call it."""
        waited = self.batches.take_seconds() if self.batches else 0.0
        local = {
            **self.gpu.read(),
            **self.host.read(),
            "forward_seconds": self.forward.take_seconds(),
            "stage": stage_number(),
            "data_wait_seconds": waited,
            "model": self.model.take(self.grad_norm),
        }
        readings = gather_readings(local)
        if not readings:
            return {}
        waits = values_of(readings, "data_wait_seconds")
        fields = {
            **gpu_summary(readings),
            **{name: value for name, value in readings[0].items() if name.startswith(HOST_FIELDS)},
            **self.stragglers.read(readings),
            **self.steps.take(self.config.optimizer.clip_grad_norm),
            **model_summary(readings),
            "data_wait_seconds": max(waits),
            "data_wait_share": max(waits) / max(seconds, 1e-9),
        }
        joules = fields.get("gpu_energy_joules")
        if joules is not None and self.joules_before is not None and tokens > 0:
            fields["joules_per_token"] = (joules - self.joules_before) / tokens
        self.joules_before = joules
        return fields

    @contextmanager
    def long_work(self) -> Iterator[None]:
        """Work that may rightly take longer than a step, such as a validation."""
        with self.hang.pause():
            yield

    def close(self) -> None:
        """Write and send what is left; ends all threads."""
        self.hang.close()
        self.profiler.close()
        if self.messenger:
            self.messenger.close()
