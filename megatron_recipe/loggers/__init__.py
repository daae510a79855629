"""Where the numbers of a run go: metrics.jsonl, events.jsonl, TensorBoard, W&B, SwanLab.

metrics.jsonl and events.jsonl are the run's own record: every other file and page can be lost. The other sinks get the
same numbers under the names ``kind/field`` (``train/loss``), and none of them can stop a run: one that fails is left
out from then on, with a warning.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.files import full_disk_is_an_error
from megatron_recipe.loggers.records import append_record, keep_records, numeric_fields
from megatron_recipe.loggers.requirements import check_packages, logging_problems
from megatron_recipe.loggers.sink import Sink

__all__ = ["RunLog", "check_packages", "logging_problems"]


class RunLog:
    """Writers of one run folder; only the first rank has one.

    A record is one line, written and flushed at once. A run that starts again drops the records that lie behind its
    checkpoint, since those steps are about to be taken again, and lines that a kill cut off. A rollback inside a run
    drops nothing: what led to it is worth reading, and the report takes the latest pass over each step.

    Raises:
        MachineError: W&B or SwanLab is asked for, and its package is not installed.
    """

    def __init__(self, run_dir: Path, config: Config, resumed_at_step: int) -> None:
        check_packages(config)
        self.metrics = run_dir / "metrics.jsonl"
        self.events = run_dir / "events.jsonl"
        keep_records(self.metrics, lambda record: record["step"] <= resumed_at_step)
        keep_records(self.events, lambda record: True)
        self.sinks: dict[str, Sink] = {}
        with full_disk_is_an_error(run_dir):
            self._open_sinks(run_dir, config, resumed_at_step)

    @property
    def tensorboard(self) -> Any:
        """TensorBoard's SummaryWriter, for what is no number (histograms); None where it is off."""
        sink = self.sinks.get("TensorBoard")
        return sink.writer if sink is not None else None  # type: ignore[attr-defined]

    def metric(self, kind: str, record: dict[str, Any]) -> None:
        """Append a record, which has a `step`; `kind` is `train`, `validation` or `validation/NAME`."""
        append_record(self.metrics, {"kind": kind, **record})
        numbers = numeric_fields(kind, record)
        for name, sink in list(self.sinks.items()):
            with self._left_out_on_failure(name):
                sink.write(record["step"], numbers)

    def event(self, event: str, **facts: Any) -> None:
        """Append something that happened at a moment: start, resume, checkpoint_saved, end, …"""
        append_record(self.events, {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts})

    def rewind(self, step: int) -> None:
        """The run went back to `step`: those after it are about to be taken again. metrics.jsonl keeps both passes."""
        for name, sink in list(self.sinks.items()):
            with self._left_out_on_failure(name):
                sink.rewind(step)

    def close(self) -> None:
        """Flush what is buffered; waits for uploads a minute at most."""
        for name, sink in list(self.sinks.items()):
            with self._left_out_on_failure(name):
                sink.close()

    def _open_sinks(self, run_dir: Path, config: Config, resumed_at_step: int) -> None:
        if config.logging.tensorboard:
            from megatron_recipe.loggers.tensorboard_sink import TensorboardSink

            self.sinks["TensorBoard"] = TensorboardSink(run_dir / "tensorboard", resumed_at_step)
        if config.logging.wandb != "off":
            from megatron_recipe.loggers.wandb_sink import WandbSink

            with self._left_out_on_failure("W&B"):
                self.sinks["W&B"] = WandbSink(run_dir, config)
        if config.logging.swanlab != "off":
            from megatron_recipe.loggers.swanlab_sink import SwanlabSink

            with self._left_out_on_failure("SwanLab"):
                self.sinks["SwanLab"] = SwanlabSink(run_dir, config)

    @contextmanager
    def _left_out_on_failure(self, name: str) -> Iterator[None]:
        """Other people's loggers raise what they like, also on a full disk or a service's whim."""
        try:
            yield
        except Exception as error:
            self.sinks.pop(name, None)
            reason = f"{type(error).__name__}: {error}"
            console.warn(f"{name} failed ({reason}); the run goes on without it, metrics.jsonl has all numbers")
            self.event("logger_failed", logger=name, reason=reason)
