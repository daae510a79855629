"""Where the numbers of a run go: metrics.jsonl, events.jsonl, TensorBoard, the console."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from megatron_recipe.config import Config
from megatron_recipe.files import atomic_file, full_disk_is_an_error, read_jsonl

TENSORBOARD_FIELDS = (
    "loss",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
    "step_seconds",
    "tflops_per_gpu",
    "mfu_full",
    "mfu_causal",
    "memory_gb",
    "perplexity",
    "bits_per_byte",
)


class RunLog:
    """Writers of one run folder; only the first rank has one.

    A record is one line, written and flushed at once. A run that starts again drops the records that lie behind its
    checkpoint, since those steps are about to be taken again, and lines that a kill cut off.
    """

    def __init__(self, run_dir: Path, config: Config, resumed_at_step: int) -> None:
        self.metrics = run_dir / "metrics.jsonl"
        self.events = run_dir / "events.jsonl"
        self.tensorboard: Any = None
        _keep(self.metrics, lambda record: record["step"] <= resumed_at_step)
        _keep(self.events, lambda record: True)
        if config.logging.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.tensorboard = SummaryWriter(str(run_dir / "tensorboard"), purge_step=resumed_at_step + 1)

    def metric(self, kind: str, record: dict[str, Any]) -> None:
        """Append a `train` or `validation` record; it has a `step`."""
        _append(self.metrics, {"kind": kind, **record})
        if self.tensorboard is not None:
            for name in TENSORBOARD_FIELDS:
                if record.get(name) is not None:
                    self.tensorboard.add_scalar(f"{kind}/{name}", record[name], record["step"])

    def event(self, event: str, **facts: Any) -> None:
        """Append something that happened at a moment: start, resume, checkpoint_saved, end, …"""
        _append(self.events, {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts})

    def close(self) -> None:
        """Flush what is buffered."""
        if self.tensorboard is not None:
            self.tensorboard.close()


def _keep(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite a file of records with the whole lines that are wanted."""
    if path.exists():
        kept = [record for record in read_jsonl(path) if wanted(record)]
        with atomic_file(path) as file:
            file.writelines(map(_line, kept))


def _append(path: Path, record: dict[str, Any]) -> None:
    with full_disk_is_an_error(path), path.open("a", encoding="utf-8") as file:
        file.write(_line(record))


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"
