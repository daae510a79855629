"""Ranks that share a GPU: NCCL in as many processes as asked for, on a machine that has one card.

NCCL refuses two ranks on one card of one host, by the hash of the host's name. With another name for each rank
(`NCCL_HOSTID`) they are machines to it, and talk through sockets as machines do. What they compute and what memory each
takes is what it is on cards of their own; how long it takes says nothing.

    torchrun --standalone --nproc-per-node 4 benchmarks/one_card.py SCRIPT ARGUMENTS…
"""

import os
import runpy
import sys
from pathlib import Path


def share_first_gpu() -> None:
    """Make this process of torchrun a rank on the first GPU. To be called before torch.distributed is started."""
    os.environ["NCCL_HOSTID"] = f"rank{os.environ['RANK']}"
    os.environ["LOCAL_RANK"] = "0"


def main() -> None:
    """Run a script as such a rank."""
    if "RANK" not in os.environ or len(sys.argv) < 2:
        print(
            "one_card.py runs a script by torchrun: torchrun --standalone --nproc-per-node 4 benchmarks/one_card.py "
            "SCRIPT ARGUMENTS…",
            file=sys.stderr,
        )
        sys.exit(2)
    share_first_gpu()
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).absolute().parent)  # as Python itself does for a script
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
