"""Checkpoints written while training goes on: a step waits for the copy out of the GPU, a forked process for the disk.

A checkpoint is written below a hidden name of its own, hashed by the processes that wrote it, given its marker and
renamed. So a kill at any moment leaves the older ones alone, and so does a writer that outlives its killed parent.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncCallsQueue
from torch.distributed.checkpoint.api import CheckpointException

from megatron_recipe.agreement import all_ranks, first_ranks
from megatron_recipe.checkpoint import Training, step_folder
from megatron_recipe.checkpoint_integrity import hash_files, write_integrity, write_marker
from megatron_recipe.config import Config
from megatron_recipe.errors import MachineError
from megatron_recipe.files import atomic_file, disk_full
from megatron_recipe.parallel import Ranks, barrier
from megatron_recipe.parent_death import serve_parent_only
from megatron_recipe.plan.disk import checkpoint_bytes
from megatron_recipe.save_failures import WriterReason, problem_of

LATEST = "latest"


@dataclass(frozen=True)
class Saved:
    """A save that came to its end; `problem` says why it is not there, None where it is."""

    step: int
    folder: Path
    kind: str
    seconds: float
    blocked_seconds: float
    bytes: int
    problem: str | None = None


@dataclass
class _Pending:
    step: int
    partial: Path
    folder: Path
    kind: str
    marker: dict[str, Any]
    began: float
    blocked_seconds: float
    needed_bytes: int


class CheckpointWriter:
    """Writes the checkpoints of one run, one at a time. All ranks call every method at the same step."""

    def __init__(self, checkpoints: Path, config: Config, vocab_size: int, ranks: Ranks) -> None:
        self.checkpoints, self.config, self.vocab_size, self.ranks = checkpoints, config, vocab_size, ranks
        self.queue = AsyncCallsQueue(persistent=False)
        self.pending: _Pending | None = None
        self.reason = WriterReason()
        _keep_results_in_a_child_that_dies_with_this_process()
        self.last_seconds = 0.0
        """Of the last save from its beginning to its last byte."""

    def begin(self, training: Training, kind: str, facts: dict[str, Any]) -> Saved | None:
        """Copy the state and leave the rest to another process; `facts` go into the marker.

        kind: `weights` saves the model alone, into weights_<step>; any other saves all, into step_<step>.
        Returns a Saved with its problem where the disk has no room; else the result comes from `poll` or `wait`.
        The save before this one has to be over: call `wait` first.
        """
        assert self.pending is None, "the last save is still going on"
        began = time.monotonic()
        weights_only = kind == "weights"
        folder = step_folder(self.checkpoints, training.state.step)
        if weights_only:
            folder = folder.with_name(folder.name.replace("step", "weights"))
        hidden = self._new_partial(folder)
        needed = checkpoint_bytes(self.config, self.vocab_size, self.ranks.world_size, weights_only=weights_only)
        marker = {**facts, **training.state.facts(), "kind": kind, "weights_only": weights_only}
        self.pending = _Pending(training.state.step, hidden, folder, kind, marker, began, 0.0, needed)
        if not first_ranks(shutil.disk_usage(self.checkpoints).free > needed):
            return self._gave_up(str(disk_full(folder, needed)))
        state = training.sharded_state(is_loading=False, weights_only=weights_only)
        request: Any = dist_checkpointing.save(state, str(hidden), async_sharded_save=True, async_strategy="mcore")
        if request.async_fn is not None:
            files = [bucket[1] for bucket in request.async_fn_args[1]]
            self.reason.clear()
            own_part = partial(_write_and_hash, self.reason, request.async_fn, hidden, files, self.ranks.rank)
            request = request._replace(async_fn=own_part)
        self.queue.schedule_async_request(request)
        self.pending.blocked_seconds = time.monotonic() - began
        if not self.config.checkpoint.asynchronous:
            return self.wait()
        return None

    def poll(self) -> Saved | None:
        """What has come to its end since the last call, without waiting."""
        return self._finalize(blocking=False) if self.pending else None

    def wait(self) -> Saved | None:
        """Wait for the save that goes on, if one does."""
        if self.pending is None:
            return None
        waited_from = time.monotonic()
        pending = self.pending
        saved = self._finalize(blocking=True)
        if saved is None:
            return None
        blocked = pending.blocked_seconds + time.monotonic() - waited_from
        return Saved(saved.step, saved.folder, saved.kind, saved.seconds, blocked, saved.bytes, saved.problem)

    def _finalize(self, *, blocking: bool) -> Saved | None:
        pending = self.pending
        assert pending is not None
        try:
            if not self.queue.maybe_finalize_async_calls(blocking=blocking):
                return None
        except (CheckpointException, OSError, RuntimeError, AssertionError) as error:
            reason = next(filter(None, all_ranks(self.reason.read())), "")
            return self._gave_up(problem_of(pending.folder, pending.needed_bytes, reason, error))
        try:
            if self.ranks.is_first:
                self._complete(pending)
            problem = None
        except (MachineError, OSError) as error:
            problem = f"{pending.folder}: {error}"
        problem = first_ranks(problem)
        if problem:
            return self._gave_up(problem)
        self.pending = None
        seconds = time.monotonic() - pending.began
        self.last_seconds = seconds
        size = sum(file.stat().st_size for file in pending.folder.iterdir()) if self.ranks.is_first else 0
        return Saved(pending.step, pending.folder, pending.kind, seconds, pending.blocked_seconds, size)

    def _complete(self, pending: _Pending) -> None:
        """Checksums, marker, name: from here on the checkpoint is there."""
        write_integrity(pending.partial)
        write_marker(pending.partial, pending.marker)
        shutil.rmtree(pending.folder, ignore_errors=True)
        pending.partial.rename(pending.folder)
        if not pending.marker["weights_only"]:
            with atomic_file(self.checkpoints / LATEST) as file:
                file.write(f"{pending.folder.name}\n")

    def _gave_up(self, problem: str) -> Saved:
        pending = self.pending
        assert pending is not None
        self.pending = None
        self.queue.async_calls.clear()
        if self.ranks.is_first:
            shutil.rmtree(pending.partial, ignore_errors=True)
        barrier()
        seconds = time.monotonic() - pending.began
        return Saved(pending.step, pending.folder, pending.kind, seconds, pending.blocked_seconds, 0, problem)

    def _new_partial(self, folder: Path) -> Path:
        """An empty hidden folder, the same on all ranks, that no process of a killed run can still write to."""
        name = f".{folder.name}.{os.getpid()}-{time.time_ns()}.partial"
        hidden = folder.with_name(first_ranks(name))
        if self.ranks.is_first:
            hidden.mkdir(parents=True)
        barrier()
        return hidden


def _write_and_hash(
    reason: WriterReason, write: Callable[..., None], folder: Path, files: list[str], rank: int, *args: Any
) -> None:
    """In the forked process: write this rank's files, then hash them."""
    serve_parent_only()
    with reason.noted():
        with suppress(EOFError, BrokenPipeError):  # a second Ctrl-C ended the parent, to which it would report
            write(*args)
        with suppress(MachineError):  # a full disk fails the save elsewhere: in write, or where checksums are gathered
            if all((folder / name).is_file() for name in files):
                hash_files(folder, files, rank)


def _keep_results_in_a_child_that_dies_with_this_process() -> None:
    """Give Megatron its queue of results from a manager that does not outlive us, as the one it would start does."""
    if filesystem_async._results_queue is None:
        manager = SyncManager(ctx=get_context("spawn"))
        manager.start(initializer=serve_parent_only)
        filesystem_async._results_queue = manager.Queue()
