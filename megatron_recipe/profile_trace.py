"""A look inside some steps: torch's profiler, and where the GPU's memory goes (`train --profile FIRST:STOP`)."""

from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.parallel import Ranks

FOLDER = "profile"
TABLE_ROWS = 25
MEMORY_EVENTS = 200_000
"""Allocations that a memory snapshot remembers: some steps of a 7B model."""


class StepProfiler:
    """Profiles the steps `logging.profile_first_step` to `logging.profile_last_step` of the first rank.

    It leaves in RUN/profile/ a trace (opens in Perfetto or chrome://tracing), a table of what took the most time and,
    of a GPU, a snapshot of its memory (opens at pytorch.org/memory_viz). The profiled steps are slower than others.
    """

    def __init__(self, config: Config, run_dir: Path, ranks: Ranks) -> None:
        self.first, self.last = config.logging.profile_first_step, config.logging.profile_last_step
        self.folder, self.rank = run_dir / FOLDER, ranks.rank
        self.on_gpu = ranks.device.type == "cuda"
        self.profiler: Any = None
        self.began = self.done = 0
        self.is_wanted = bool(self.last) and ranks.is_first

    def begin(self, step: int) -> None:
        """Call before the first step of this process, with the last one that is done; else that one has no profile."""
        self.done = step
        self._start_if_due()

    def step(self, step: int) -> bool:
        """Call when `step` is done; a step that comes again after a rollback counts once more.

        Returns whether it began or wrote a profile, which takes seconds that are no training.
        """
        self.done = step
        if self.profiler is None:
            return self._start_if_due()
        if step < self.last:
            return False
        self._finish()
        return True

    def close(self) -> None:
        """End of the run: write what there is, if it ends before the last of these steps."""
        if self.profiler is not None:
            self._finish()

    def _start_if_due(self) -> bool:
        if not self.is_wanted or not self.first - 1 <= self.done < self.last:
            return False
        if self.on_gpu:
            torch.cuda.memory._record_memory_history(stacks="python", max_entries=MEMORY_EVENTS)
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.on_gpu else [])]
        self.began = self.done + 1
        self.profiler = profile(activities=activities, acc_events=True)
        self.profiler.start()
        return True

    def _finish(self) -> None:
        """Stop and write. A look inside is not worth a run: what fails here is a warning."""
        profiler, self.profiler, self.is_wanted = self.profiler, None, False
        name = f"rank{self.rank}_steps_{self.began}_{self.done}"
        try:
            profiler.stop()
            self.folder.mkdir(parents=True, exist_ok=True)
            profiler.export_chrome_trace(str(self.folder / f"trace_{name}.json.gz"))
            (self.folder / f"top_{name}.txt").write_text(self._table(profiler), encoding="utf-8")
            if self.on_gpu:
                torch.cuda.memory._dump_snapshot(str(self.folder / f"memory_{name}.pickle"))
        except Exception as error:  # of Kineto, of the disk
            console.warn(f"no complete profile of steps {self.began} to {self.done}: {type(error).__name__}: {error}")
        else:
            console.say(f"profile of steps {self.began} to {self.done}: {self.folder}")
        finally:
            if self.on_gpu:
                torch.cuda.memory._record_memory_history(enabled=None)

    def _table(self, profiler: Any) -> str:
        order = "self_device_time_total" if self.on_gpu else "self_cpu_time_total"
        return str(profiler.key_averages().table(sort_by=order, row_limit=TABLE_ROWS, max_name_column_width=80))
