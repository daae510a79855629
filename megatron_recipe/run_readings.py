"""All that is measured of machine and ranks at a record: GPUs, host, waiting for data, slow ranks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.gpu_monitor import GpuMonitor, gpu_of, gpu_summary
from megatron_recipe.host_monitor import HostMonitor, TimedIterator
from megatron_recipe.parallel import Ranks
from megatron_recipe.rank_readings import Reading, gather_readings, values_of
from megatron_recipe.stragglers import ForwardStep, ForwardTimer, StragglerWatch


class RunReadings:
    """The measuring instruments of one rank; the first rank makes fields of a record of all ranks' readings.

    Args:
        run_dir: folder of the run, which exists.
        stage: this rank's pipeline stage; ranks are compared within theirs.
    """

    def __init__(self, config: Config, run_dir: Path, ranks: Ranks, stage: int) -> None:
        self.stage = stage
        self.gpu = GpuMonitor(gpu_of(ranks.device) if config.logging.gpu_readings else None)
        self.host = HostMonitor(run_dir) if ranks.is_first else None
        self.timer = ForwardTimer(ranks.device)
        self.stragglers = StragglerWatch()
        self.batches: TimedIterator[Any] | None = None
        self.joules = 0.0
        self.gpu.read()  # energy counts from here

    def timed_batches[T](self, batches: Iterator[T]) -> TimedIterator[T]:
        """`batches`, with the time waited for them counted."""
        self.batches = TimedIterator(batches)
        return self.batches

    def timed_forward(self, forward_step: ForwardStep) -> ForwardStep:
        """`forward_step`, timed, for the next step."""
        return self.timer.timed(forward_step)

    def read(self, seconds: float, tokens: int) -> dict[str, Any]:
        """Fields of the record of an interval, on the first rank; {} on the others. All ranks call it at one step.

        Args:
            seconds: length of the interval.
            tokens: trained on in it, over all ranks.
        """
        readings = gather_readings(self._local())
        if not readings or self.host is None:
            return {}
        wait = max(values_of(readings, "data_wait_seconds"), default=0.0)
        fields = {
            "data_wait_seconds": wait,
            "data_wait_share": wait / seconds,
            **self.stragglers.read(readings),
            **gpu_summary(readings),
            **self.host.read(),
        }
        if "gpu_energy_joules" in fields:
            fields["joules_per_token"] = (fields["gpu_energy_joules"] - self.joules) / max(tokens, 1)
            self.joules = fields["gpu_energy_joules"]
        return fields

    def straggler(self) -> dict[str, Any] | None:
        """Facts of a `straggler` event, where the last `read` found that one is due; told on the console too."""
        found = self.stragglers.found
        if found is not None:
            console.warn(
                f"rank {found['rank']} is slow: its forward pass takes {found['ratio_to_median']:.1f} × the median of "
                f"its peers, for {found['records']} records; look at its GPU's temperature and clocks, and its host"
            )
        return found

    def _local(self) -> Reading:
        reading = self.gpu.read()
        if self.batches is not None:
            reading["data_wait_seconds"] = self.batches.take_seconds()
        return {**reading, "stage": self.stage, "forward_seconds": self.timer.take_seconds()}
