"""The machine around the GPUs: cores, memory, shared memory, limits, disks, clock. A container's limits come first."""

import contextlib
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from megatron_recipe.doctor.check import Check, cgroup_value, judge, runs_folder
from megatron_recipe.doctor.gpu import installed_gpus

WRITE_TEST_MB = 32
WRITE_TEST_SECONDS = 3.0
SHARED_GIB_OF_A_RANK = 0.5
"""What a rank's data workers and NCCL put into /dev/shm, with room."""
LOCKED_MEMORY_MIB = 64


def usable_cores() -> float:
    """Cores this process may use: affinity, then the container's quota (cgroup v2 cpu.max: "quota period" in µs)."""
    cores = float(len(os.sched_getaffinity(0)))
    quota = cgroup_value("cpu.max").split()
    return min(cores, int(quota[0]) / int(quota[1])) if len(quota) == 2 else cores


def usable_memory_gib() -> float:
    """Memory this process may use, in GiB: the host's, then the container's limit."""
    import psutil

    total = psutil.virtual_memory().total
    limit = cgroup_value("memory.max", "memory/memory.limit_in_bytes")
    return min(total, int(limit) if limit else total) / 2**30


def check_cores() -> Check:
    """Cores, some for each rank's data workers."""
    cores, gpus = usable_cores(), len(installed_gpus())
    fix = (
        f"{gpus} GPUs want {4 * gpus} cores for reading data and launching kernels: set data.num_workers=1"
        if gpus
        else "data preparation and tests are planned for 2 or more"
    )
    return judge("CPU cores", f"{cores:g}", warn_if=cores < max(2, 2 * gpus), fix=fix)


def check_memory() -> Check:
    """Memory of the machine or the container."""
    memory = usable_memory_gib()
    fix = "the demo needs about 4 GiB, a 1B checkpoint on one GPU about 24: rent a larger machine"
    return judge("memory", f"{memory:.1f} GiB", fail_if=memory < 3, warn_if=memory < 8, fix=fix)


def check_swap() -> Check:
    """Whether the machine lives on its swap already."""
    import psutil

    swap = psutil.swap_memory()
    found = f"{swap.used / 2**30:.1f} of {swap.total / 2**30:.1f} GiB used" if swap.total else "none"
    fix = "the machine is short of memory, and swapping slows every step: end what takes it, or rent a larger machine"
    return judge("swap", found, warn_if=swap.used > 2**30, fix=fix)


def check_shared_memory() -> Check:
    """/dev/shm, where data workers and NCCL put what they share."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Check("/dev/shm", "warn", "missing", "workers share batches there: mount a tmpfs on /dev/shm")
    free = shutil.disk_usage(folder).free / 2**30
    needed = max(1.0, SHARED_GIB_OF_A_RANK * len(installed_gpus()))
    fix = (
        f"{needed:g} GiB are wanted here; docker gives 64 MiB unless asked: docker run --shm-size=16g (or --ipc=host); "
        "NCCL and data workers die without (data.num_workers=0 needs none)"
    )
    return judge("/dev/shm", f"{free:.2f} GiB free", warn_if=free < needed, fix=fix)


def check_open_files() -> Check:
    """Files that a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fix = f"ulimit -n {min(hard, 65535) if hard > 0 else 65535}: sharded data and checkpoints open many files"
    return judge("open files (ulimit -n)", f"{soft}", warn_if=0 <= soft < 1024, fix=fix)


def check_locked_memory() -> Check:
    """Memory that a process may lock, as InfiniBand does for NCCL."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limited = 0 <= soft < LOCKED_MEMORY_MIB * 2**20
    found = "no limit" if soft < 0 else f"{soft / 2**20:,.0f} MiB"
    fix = "ulimit -l unlimited (docker run --ulimit memlock=-1): NCCL over InfiniBand locks what it sends"
    return judge("locked memory (ulimit -l)", found, warn_if=limited and len(installed_gpus()) > 1, fix=fix)


def check_disk() -> Check:
    """Space where runs will be written."""
    folder = runs_folder()
    free = shutil.disk_usage(folder).free / 1e9
    fix = "the demo needs 1 GB; a 1B run keeps 14 GB per checkpoint, its data 2 bytes per token: use a larger disk"
    return judge("disk space for runs", f"{free:.0f} GB free", fail_if=free < 1, warn_if=free < 50, fix=fix)


def check_write_speed() -> Check:
    """How fast a checkpoint will be written; stops writing after a few seconds on a slow disk."""
    block = os.urandom(2**20)  # random, since some file systems compress
    began, written = time.perf_counter(), 0
    try:
        with tempfile.NamedTemporaryFile(dir=runs_folder(), prefix=".doctor-") as file:
            while written < WRITE_TEST_MB and time.perf_counter() - began < WRITE_TEST_SECONDS:
                file.write(block)
                written += 1
                file.flush()
                # by parts, so that a slow disk is noticed in time
                if written % 8 == 0:
                    os.fsync(file.fileno())
    except OSError as error:
        return Check("write speed for runs", "fail", str(error), "run from a folder that you may write to")
    speed = written / (time.perf_counter() - began)
    fix = "a network disk? keep datasets/ and runs/ on the local one: a 1B checkpoint of 14 GB takes minutes here"
    return judge("write speed for runs", f"{speed:,.0f} MB/s", warn_if=speed < 100, fix=fix)


def check_temporary_folder() -> Check:
    """Where Python and compilers put what they need for a moment."""
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free / 1e9
    fix = "export TMPDIR=/a/larger/disk"
    return judge("temporary folder", f"{folder}, {free:.0f} GB free", fail_if=free < 0.1, warn_if=free < 2, fix=fix)


def check_time_zone() -> Check:
    """The zone of local times: of the hour of a daily summary, and of a checkpoint by the hour."""
    hours = time.localtime().tm_gmtoff / 3600
    named = ""
    with contextlib.suppress(OSError):
        named = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")[2]
    zone = os.environ.get("TZ") or named or time.tzname[0]
    return Check("time zone", "ok", f"{zone} (UTC{hours:+g}); hours in a recipe are local, export TZ to change it")
