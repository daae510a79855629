"""When a rank of the run has ended: the others say so, where a collective that nobody answers would leave its trace."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from megatron_recipe.errors import MachineError

LOST = re.compile(
    r"Connection closed by peer|Connection reset by peer|Broken pipe"  # gloo
    r"|Connection was likely closed"  # torch's store
    r"|ncclRemoteError|remote process exited"  # NCCL
)


@contextmanager
def lost_ranks_are_an_error() -> Iterator[None]:
    """Turn torch's errors about connections that another rank has closed into a MachineError: one text on all."""
    try:
        yield
    except RuntimeError as error:
        if lost := LOST.search(str(error)):
            raise MachineError(
                f"another rank of this run has ended, or the network to it has ({lost[0]}): its own output, or "
                "torchrun's report, says why; the same command continues from the newest checkpoint"
            ) from error
        raise
