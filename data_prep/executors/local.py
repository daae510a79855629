"""datatrove's executor for one machine."""

import ctypes
import signal
import threading
from copy import deepcopy
from typing import Any

import multiprocess
import multiprocess.forkserver
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

PR_SET_PDEATHSIG = 1


class LocalExecutor(LocalPipelineExecutor):
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
