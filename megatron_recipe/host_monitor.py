"""What the machine around the GPUs does: processor, memory, disk, and how long the training waits for data."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from megatron_recipe.rank_readings import Reading

SHARED_MEMORY = Path("/dev/shm")


class HostMonitor:
    """Readings of the machine that a process runs on.

    Args:
        run_dir: folder of the run, which exists.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.process = psutil.Process()
        psutil.cpu_percent()  # the first call has no interval to speak of

    def read(self) -> Reading:
        """host_cpu_percent (of all cores, since the last call), host_memory_used_gb and _percent (of all processes),
        process_memory_gb (resident, this rank with its data loader's workers), disk_free_gb (of the run folder),
        shared_memory_used_gb and _percent (/dev/shm, through which the workers hand batches over).
        """
        memory = psutil.virtual_memory()
        reading = {
            "host_cpu_percent": psutil.cpu_percent(),
            "host_memory_used_gb": (memory.total - memory.available) / 1e9,
            "host_memory_percent": memory.percent,
            "process_memory_gb": self._resident_bytes() / 1e9,
            "disk_free_gb": psutil.disk_usage(str(self.run_dir)).free / 1e9,
        }
        if SHARED_MEMORY.is_dir():
            shared = psutil.disk_usage(str(SHARED_MEMORY))
            reading |= {"shared_memory_used_gb": shared.used / 1e9, "shared_memory_percent": shared.percent}
        return reading

    def _resident_bytes(self) -> int:
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.Error:  # it ended in between
                continue
        return total


class TimedIterator[T]:
    """An iterator that adds up the time that its user waits in `next()`."""

    def __init__(self, inner: Iterator[T]) -> None:
        self.inner, self.seconds = inner, 0.0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        began = time.perf_counter()
        try:
            return next(self.inner)
        finally:
            self.seconds += time.perf_counter() - began

    def close(self) -> None:
        """Close a generator inside, which ends its workers."""
        close = getattr(self.inner, "close", None)
        if close is not None:
            close()

    def take_seconds(self) -> float:
        """Time waited since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds
