"""How fast the ranks of this start exchange data: one all-reduce, timed. Run by torchrun, on one machine or several:

    torchrun --nproc-per-node gpu -m megatron_recipe.doctor.bandwidth [--mb 256] [--cpu]

Bus bandwidth is what NVIDIA's nccl-tests print (PERFORMANCE.md there): bytes / seconds × 2 (n - 1) / n, which does not
depend on the number of ranks where the links are equal.
"""

import argparse
import os
import re
import sys
import time
from datetime import timedelta

from megatron_recipe import console
from megatron_recipe.doctor.check import answer_of

MB_ON_GPUS = 256
MB_ON_CPUS = 16
"""Gloo over a network of 1 Gbit/s sends these in a second."""
REPEATS = 5
PATIENCE_SECONDS = 120.0
# GB/s below which something is wrong rather than merely slow: NVLink of an A100 gives about 230, of an H100 about 360;
# PCIe 4.0 x16 about 20; 100 Gbit/s Ethernet or InfiniBand between machines about 10, 10 Gbit/s about 1.
NVLINK_FLOOR, PCIE_FLOOR, NETWORK_FLOOR, CPU_FLOOR = 100.0, 5.0, 1.0, 0.05


def bus_bandwidth(size_bytes: int, seconds: float, ranks: int) -> float:
    """GB/s of an all-reduce of `size_bytes` over `ranks` in `seconds`."""
    return size_bytes / seconds * 2 * (ranks - 1) / ranks / 1e9


def floor_of(on_gpus: bool, machines: int, links: str) -> float:
    """GB/s to expect at least. links: what `nvidia-smi topo -m` prints."""
    if not on_gpus:
        return CPU_FLOOR
    if machines > 1:
        return NETWORK_FLOOR
    return NVLINK_FLOOR if re.search(r"\bNV\d+\b", links) else PCIE_FLOOR


def seconds_of_all_reduce(megabytes: int, on_gpus: bool) -> float:
    """Median time of one all-reduce of that many MB, after one that sets the connections up. Needs a process group."""
    import torch
    import torch.distributed as dist

    device = torch.device("cuda", torch.cuda.current_device()) if on_gpus else torch.device("cpu")
    values = torch.ones(megabytes * 250_000, dtype=torch.float32, device=device)
    taken = []
    for _ in range(REPEATS + 1):
        dist.barrier()
        began = time.perf_counter()
        dist.all_reduce(values)
        if on_gpus:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
        if not bool((values == dist.get_world_size()).all()):
            raise RuntimeError("the all-reduce gave a wrong sum: a link or a card is broken; do not train here")
        values.fill_(1.0)
    return sorted(taken[1:])[REPEATS // 2]


def measure(megabytes: int | None, on_cpus: bool) -> None:
    """Time the all-reduce over torchrun's ranks; the first one says the result."""
    import torch
    import torch.distributed as dist

    on_gpus = torch.cuda.is_available() and not on_cpus
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpus else "gloo", timeout=timedelta(seconds=PATIENCE_SECONDS))
    try:
        ranks = dist.get_world_size()
        if ranks < 2:
            console.say("all-reduce: one rank has nothing to send")
            return
        size = megabytes or (MB_ON_GPUS if on_gpus else MB_ON_CPUS)
        seconds = seconds_of_all_reduce(size, on_gpus)
        if dist.get_rank() == 0:
            machines = ranks // int(os.environ["LOCAL_WORLD_SIZE"])
            links = answer_of("nvidia-smi", "topo", "-m") if on_gpus else ""
            say_result(size, seconds, ranks, machines, floor_of(on_gpus, machines, links))
    finally:
        dist.destroy_process_group()


def say_result(megabytes: int, seconds: float, ranks: int, machines: int, floor: float) -> None:
    """One line, and a warning where it is below `floor` GB/s."""
    speed = bus_bandwidth(megabytes * 1_000_000, seconds, ranks)
    where = f"{ranks} ranks on {machines} machine{'s' if machines > 1 else ''}"
    console.say(f"all-reduce of {megabytes} MB over {where}: {seconds * 1e3:.1f} ms, {speed:.2f} GB/s bus bandwidth")
    if speed < floor:
        console.warn(
            f"below {floor:g} GB/s: NCCL_DEBUG=INFO shows the links it took; NCCL_SOCKET_IFNAME names the network "
            "interface, NCCL_IB_HCA the InfiniBand card; in a container look at --shm-size and --ipc=host"
        )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mb", type=int, default=None, help=f"{MB_ON_GPUS} on GPUs, {MB_ON_CPUS} on CPUs")
    parser.add_argument("--cpu", action="store_true", help="over gloo, also where there are GPUs")
    wanted = parser.parse_args()
    try:
        measure(wanted.mb, wanted.cpu)
    except RuntimeError as error:  # DistBackendError and the like are its subclasses
        sys.exit(f"error: all-reduce: {' '.join(str(error).split())[:300]}")


if __name__ == "__main__":
    main()
