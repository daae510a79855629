"""Runs a list of datatrove blocks in processes, with progress, and counts what went in, came out and was dropped."""

import ctypes
import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import multiprocess
import multiprocess.forkserver
import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

from megatron_recipe import console

PROGRESS_EVERY_DOCUMENTS = 200
POLL_SECONDS = 0.25
PR_SET_PDEATHSIG = 1


@dataclass
class Counts:
    """Documents through a list of blocks, summed over its tasks."""

    read: int = 0
    kept: int = 0
    bytes: int = 0
    """UTF-8 bytes of the kept documents' text."""
    dropped: dict[str, int] = field(default_factory=dict)


class DocumentCounter(PipelineStep):
    """Pass documents on and count them and their bytes; `progress` also tells the parent process how far it is.

    Progress is a file of one 8-byte integer for each task: no channel between processes, so it works under any
    executor and survives a kill.
    """

    type = "🧮 - COUNT"

    def __init__(self, name: str, progress: Path | None = None) -> None:
        self.name = name
        super().__init__()
        self.progress = progress

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        num_documents = num_bytes = 0
        for document in data or ():
            num_documents += 1
            num_bytes += len(document.text.encode("utf-8", "surrogatepass"))
            if self.progress and num_documents % PROGRESS_EVERY_DOCUMENTS == 0:
                self._tell(rank, num_documents)
            yield document
        if self.progress:
            self._tell(rank, num_documents)
        self.stat_update("documents", value=num_documents)
        self.stat_update("bytes", value=num_bytes)

    def _tell(self, rank: int, num_documents: int) -> None:
        assert self.progress is not None, "progress folder"
        (self.progress / f"{rank:05d}").write_bytes(np.int64(num_documents).tobytes())


class _LocalExecutor(LocalPipelineExecutor):
    """datatrove's executor for one machine, with processes that are quiet, leave Ctrl-C to the parent, and end with it.

    Its own `run` starts a manager process, which stays for ever when the parent is killed.
    """

    pipeline: list[PipelineStep]

    def run(self) -> None:
        """Run the tasks that are not complete; the first error of one ends all and is raised here."""
        ranks = self.get_incomplete_ranks()
        if self.workers == 1:
            blocks = self.pipeline
            for rank in ranks:
                self.pipeline = deepcopy(blocks)  # a block's statistics are of one task
                self._run_quietly(rank)
        elif ranks:
            with _worker_pool(min(self.workers, len(ranks))) as pool:
                for _ in pool.imap_unordered(self._run_quietly, ranks):
                    pass

    def _run_quietly(self, rank: int) -> None:
        # its log repeats on the terminal what the raised error says; the error itself reaches the parent
        logger.disable("datatrove")
        self._run_for_rank(rank)


def _worker_pool(workers: int) -> Any:
    """Processes forked from a server that has imported the blocks once, and that ignores Ctrl-C as they then do."""
    context = multiprocess.get_context("forkserver")
    context.set_forkserver_preload(["data_prep.pipeline"])
    if threading.current_thread() is threading.main_thread():
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        multiprocess.forkserver.ensure_running()
        signal.signal(signal.SIGINT, handler)
    return context.Pool(workers, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A worker that outlived a killed parent would write into the folder that the next run continues in."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_blocks(
    title: str,
    blocks: Sequence[PipelineStep],
    folder: Path,
    tasks: int,
    workers: int,
    total: int | None = None,
    num_readers: int = 1,
) -> Counts:
    """Run `blocks` as `tasks` tasks on `workers` processes; tasks that an earlier run completed are not run again.

    Args:
        title: what the progress line calls it.
        blocks: `num_readers` readers first; every filter's drops are counted by reason. Documents are counted after the
            readers and after the last block.
        folder: for datatrove's logs, statistics and completion markers.
        total: documents to come, where known.
    """
    progress = folder / "progress"
    progress.mkdir(parents=True, exist_ok=True)
    readers, rest = blocks[:num_readers], blocks[num_readers:]
    counted = [*readers, DocumentCounter("read", progress), *rest, DocumentCounter("kept")]
    logger.disable("datatrove")
    executor = _LocalExecutor(counted, tasks=tasks, workers=min(workers, tasks), logging_dir=str(folder))
    with _shown(title, progress, total):
        executor.run()
    return _sum_statistics(folder, tasks)


@contextmanager
def _shown(title: str, progress: Path, total: int | None) -> Iterator[None]:
    """Show the sum of the tasks' progress files while the block runs."""
    finished = threading.Event()

    def watch() -> None:
        shown = 0
        with console.progress(title, total, "documents") as advance:
            while True:
                last = finished.wait(POLL_SECONDS)
                done = sum(int(np.fromfile(path, dtype=np.int64).sum()) for path in progress.iterdir())
                advance(max(done - shown, 0))
                shown = max(done, shown)
                if last:
                    return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _sum_statistics(folder: Path, tasks: int) -> Counts:
    """Sum datatrove's per-task statistics, which also hold for tasks that an earlier run completed."""
    counts = Counts()
    for rank in range(tasks):
        for block in json.loads((folder / "stats" / f"{rank:05d}.json").read_text(encoding="utf-8")):
            values = {name: _total(value) for name, value in block["stats"].items()}
            match block["name"]:
                case "🧮 - COUNT: read":
                    counts.read += values["documents"]
                case "🧮 - COUNT: kept":
                    counts.kept += values["documents"]
                    counts.bytes += values["bytes"]
                case _:
                    for name, value in values.items():
                        if name.startswith("dropped_"):
                            reason = name.removeprefix("dropped_")
                            counts.dropped[reason] = counts.dropped.get(reason, 0) + value
    return counts


def _total(value: Any) -> int:
    return int(value["total"] if isinstance(value, dict) else value)
