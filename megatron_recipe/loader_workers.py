"""The data loader's processes: they outlive a signal that is meant for the run, and their death is an error."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from megatron_recipe.errors import MachineError

SECONDS_AFTER_SIGTERM = 120
DEATH = re.compile(r"DataLoader worker \(pid\(?s?\)? ?[\d, ]+\) (?:exited unexpectedly|is killed by signal: [\w ]+)")
TIMEOUT = re.compile(r"DataLoader timed out after [\d.]+ seconds")


def outlive_sigterm(worker: int) -> None:
    """Let a worker read on for a while after SIGTERM.

    Batch systems send it to all processes of a job. The run answers with a checkpoint at the end of the step, for
    which it needs its data; without this the workers would be dead by then.
    """

    def end_later(number: int, frame: FrameType | None) -> None:
        signal.alarm(SECONDS_AFTER_SIGTERM)

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, end_later)


@contextmanager
def dead_workers_are_an_error() -> Iterator[None]:
    """Turn torch's errors about dead or silent workers into a MachineError with the remedy.

    torch raises them from a signal handler, wherever the run happens to be: the whole loop belongs into the block.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        if death := DEATH.search(message):
            raise dead_worker(death[0].strip()) from error
        if late := TIMEOUT.search(message):
            raise MachineError(
                f"{late[0]}: the processes that read data gave nothing, mostly because the disk or the network file "
                "system hangs; copy the dataset to a local disk, or raise parallel.timeout_seconds (the wait is half "
                "of it); then run the same command again: it continues"
            ) from error
        raise


def dead_worker(what: str) -> MachineError:
    """The error for a process that ended while it read."""
    return MachineError(
        f"{what}: a process that reads data ended, mostly for want of memory or of shared memory; free some memory, "
        "give the container a larger /dev/shm (--shm-size=16g, or --ipc=host), or set data.num_workers=0; then run "
        "the same command again: it continues"
    )
