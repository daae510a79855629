"""Runs a list of datatrove blocks, with progress, and counts what went in, came out and was dropped."""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

from data_prep.executors import make_executor
from data_prep.recipe import ExecutorSettings
from megatron_recipe import console

PROGRESS_EVERY_DOCUMENTS = 200
POLL_SECONDS = 0.25
CHANGES = ("masked_", "passages_", "passage_")
"""How the names of statistics begin that say what a block changed."""


@dataclass
class Counts:
    """Documents through a list of blocks, summed over its tasks."""

    read: int = 0
    kept: int = 0
    bytes: int = 0
    """UTF-8 bytes of the kept documents' text."""
    dropped: dict[str, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    """What blocks changed in documents without dropping them: `masked_email`, `passages_removed`, …"""

    def then(self, later: "Counts") -> "Counts":
        """These and what a later list of blocks did with what these kept."""
        assert later.read == self.kept, (later.read, self.kept)
        return Counts(
            self.read, later.kept, later.bytes, _added(self.dropped, later.dropped), _added(self.changes, later.changes)
        )


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


def run_blocks(
    title: str,
    blocks: Sequence[PipelineStep],
    folder: Path,
    tasks: int,
    settings: ExecutorSettings,
    total: int | None = None,
    num_readers: int = 1,
) -> Counts:
    """Run `blocks` as `tasks` tasks; those that an earlier run completed are not run again.

    Args:
        title: what the progress line calls it.
        blocks: `num_readers` readers first; every filter's drops are counted by reason. Documents are counted after the
            readers and after the last block.
        folder: for datatrove's logs, statistics and completion markers.
        settings: which executor runs them, and on how many processes.
        total: documents to come, where known.
    """
    progress = folder / "progress"
    progress.mkdir(parents=True, exist_ok=True)
    readers, rest = blocks[:num_readers], blocks[num_readers:]
    counted = [*readers, DocumentCounter("read", progress), *rest, DocumentCounter("kept")]
    logger.disable("datatrove")
    executor = make_executor(settings, counted, tasks, folder)
    with _shown(title, progress, total):
        executor.run()
    return sum_statistics(folder, range(tasks))


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


def sum_statistics(folder: Path, ranks: Iterable[int]) -> Counts:
    """Sum datatrove's statistics of tasks, which also hold for tasks that an earlier run completed."""
    counts = Counts()
    for rank in ranks:
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
                            counts.dropped = _added(counts.dropped, {name.removeprefix("dropped_"): value})
                        elif name.startswith(CHANGES):
                            counts.changes = _added(counts.changes, {name: value})
    return counts


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in (*one, *(key for key in other if key not in one))}


def _total(value: Any) -> int:
    return int(value["total"] if isinstance(value, dict) else value)
