"""Whether this machine does anything, and what is done when it has not for a while: a forgotten machine costs money.

Busy is a GPU at work, or a core: a shell in which somebody thinks is not.
"""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from megatron_recipe import console

GPU_PERCENT = 5
CORES = 0.25
"""Of processor time; set-up, data preparation and copies take more, a shell and daemons less."""
COPIERS = ("rclone", "rsync")
LOOK_EVERY_SECONDS = 20.0
WARN_BEFORE_SECONDS = 300.0


@dataclass
class Activity:
    """Reads how busy the machine was since the last look: the processes that are seen from here, and all GPUs."""

    used: dict[int, float] = field(default_factory=dict)
    looked: float = field(default_factory=time.monotonic)

    def is_busy(self) -> bool:
        """Since the last call."""
        return self._cores() >= CORES or is_copying() or gpu_percent() >= GPU_PERCENT

    def _cores(self) -> float:
        # not the load: in a container that is the whole host's
        before, self.used = self.used, processor_seconds()
        now, looked = time.monotonic(), self.looked
        self.looked = now
        spent = sum(max(seconds - before.get(pid, seconds), 0.0) for pid, seconds in self.used.items())
        return spent / max(now - looked, 1e-3)


def is_copying() -> bool:
    """Whether rsync or rclone runs: over a slow line they take little of a processor."""
    return any(process.info["name"] in COPIERS for process in psutil.process_iter(["name"]))


def processor_seconds() -> dict[int, float]:
    """Processor time of each process, user's and system's."""
    found = {}
    for process in psutil.process_iter(["cpu_times"]):
        times = process.info["cpu_times"]
        if times:
            found[process.pid] = times.user + times.system
    return found


def gpu_percent() -> int:
    """Utilisation of the busiest GPU; 0 where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    query = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return max((int(line) for line in done.stdout.split() if line.isdigit()), default=0)


def wait_until_idle(
    minutes: float,
    is_busy: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when the machine did nothing for so many minutes, with a warning five minutes before."""
    last_busy, warned = clock(), False
    while (idle := clock() - last_busy) < minutes * 60:
        if idle >= minutes * 60 - WARN_BEFORE_SECONDS and not warned:
            left = (minutes * 60 - idle) / 60
            console.warn(f"this machine was idle for {idle / 60:.0f} minutes and is shut down in {left:.0f}")
            warned = True
        sleep(LOOK_EVERY_SECONDS)
        if is_busy():
            last_busy, warned = clock(), False
