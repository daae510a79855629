"""A rank that is gone is one message on the others."""

import subprocess
import sys
from pathlib import Path

import pytest

from megatron_recipe.errors import MachineError
from megatron_recipe.lost_ranks import lost_ranks_are_an_error

ROOT = Path(__file__).resolve().parent.parent.parent
LEAVES = """
import os, sys
import torch, torch.distributed as dist
from megatron_recipe.lost_ranks import lost_ranks_are_an_error
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
dist.all_reduce(torch.ones(1))
if rank == 1:
    os._exit(9)
with lost_ranks_are_an_error():
    for _ in range(1000):
        dist.all_reduce(torch.ones(1 << 16))
"""


def test_the_rank_that_is_left_says_what_happened(tmp_path):
    (tmp_path / "ranks.py").write_text(LEAVES)
    command = [sys.executable, str(tmp_path / "ranks.py")]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")],
            cwd=ROOT, env={"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    left, _ = (rank.communicate(timeout=120)[1] for rank in ranks)
    said = left.strip().splitlines()[-1]
    assert "MachineError: another rank of this run has ended, or the network to it has (Con" in said


@pytest.mark.parametrize(
    "said",
    [
        "[pair.cc:547] Connection closed by peer [127.0.0.1]:50332",
        "recvValue failed: Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown?",
        "NCCL error: ncclRemoteError: A call failed possibly due to a network error or a remote process exiting",
    ],
)
def test_the_same_is_said_by_all_ranks(said):
    with pytest.raises(MachineError, match="another rank of this run has ended") as caught, lost_ranks_are_an_error():
        raise RuntimeError(said)
    assert "50332" not in str(caught.value)  # else each rank would say it


def test_other_errors_are_left_as_they_are():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), lost_ranks_are_an_error():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
