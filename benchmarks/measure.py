"""What the benchmarks share: documents of a file, measurements in fresh processes of one core, and tables.

Each measurement runs in a process of its own, held to one core (the same for all) with one thread in every library.
The peers take turns, so that a busy machine slows all of them, and ratios are of medians of CPU seconds: what one
process has used of its core does not depend on who else runs. Wall-clock seconds are shown beside them.
"""

import json
import lzma
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass
class Runs:
    """The measurements of one peer, and what it reported besides."""

    cpu_seconds: list[float]
    seconds: list[float]
    peak_mb: float
    report: dict[str, Any]

    @property
    def median(self) -> float:
        """Median CPU seconds."""
        return statistics.median(self.cpu_seconds)

    def row(self, name: str, megabytes: float) -> list[str]:
        """For `table`: name, CPU seconds (median, least-most), wall seconds, MB/s of CPU time, peak memory."""
        spread = f"{min(self.cpu_seconds):.2f}-{max(self.cpu_seconds):.2f}"
        wall = f"{statistics.median(self.seconds):.2f}"
        return [name, f"{self.median:.2f}", spread, wall, f"{megabytes / self.median:.2f}", f"{self.peak_mb:,.0f}"]


HEADINGS = ["", "CPU s", "spread", "wall s", "MB/s", "peak MB"]


def read_records(path: Path, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file (.xz or not) that have text, at most `limit`, each with an id of its own."""
    open_text = lzma.open if path.suffix == ".xz" else open
    count = 0
    with open_text(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            record = json.loads(line)
            if count == limit:
                return
            if record["text"]:
                count += 1
                yield {"text": record["text"], "id": str(number), "metadata": record.get("metadata") or {}}


def write_records(path: Path, records: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> None:
    """Write JSONL."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def in_turn(tasks: dict[str, list[str]], runs: int) -> dict[str, Runs]:
    """Run commands (python and its arguments) one after the other, `runs` rounds; each ends with a JSON line."""
    measured: dict[str, Runs] = {name: Runs([], [], 0.0, {}) for name in tasks}
    for _ in range(runs):
        for name, command in tasks.items():
            report = _apart(command)
            one = measured[name]
            one.cpu_seconds.append(report.pop("cpu_seconds"))
            one.seconds.append(report.pop("seconds"))
            one.peak_mb = max(one.peak_mb, report.pop("peak_mb"))
            one.report = report
    return measured


def _apart(command: list[str]) -> dict[str, Any]:
    core = max(os.sched_getaffinity(0))
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, preexec_fn=lambda: _hold_to(core)
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _hold_to(core: int) -> None:
    os.sched_setaffinity(0, {core})


@contextmanager
def timed() -> Iterator[dict[str, Any]]:
    """In a measured process: fills the dict it gives with times (this process and its children) and peak memory."""
    report: dict[str, Any] = {}
    cpu, wall = _cpu_seconds(), time.perf_counter()
    yield report
    report |= {"cpu_seconds": _cpu_seconds() - cpu, "seconds": time.perf_counter() - wall, "peak_mb": peak_mb()}


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_mb() -> float:
    """Greatest resident memory of this process, in MB (not by getrusage, which counts what the parent had)."""
    return next(int(line.split()[1]) / 1024 for line in _lines("/proc/self/status") if line.startswith("VmHWM"))


def machine() -> str:
    """Date and hardware, for a table's caption."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    return f"{date.today().isoformat()}, {model or platform.machine()}, {os.cpu_count()} cores, one used"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Rows in aligned columns, the first to the left."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    lines = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in rows]
    head = [headings[0].ljust(widths[0]), *(h.rjust(w) for h, w in zip(headings[1:], widths[1:], strict=True))]
    return "\n".join("  ".join(line) for line in [head, *lines])
