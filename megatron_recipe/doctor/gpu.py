"""The GPUs: seen, healthy, free, as many as ranks, and how they reach one another."""

import os
import re
from dataclasses import dataclass
from itertools import takewhile

from megatron_recipe.doctor.check import Check, answer_of, judge

HOT_CELSIUS = 85
TAKEN_MIB = 1024
"""Memory that others may hold on a card; a desktop or a monitoring agent takes less."""
# Bits of NVML's reasons for low clocks that a healthy card under no load does not show (nvml.h).
THROTTLED = (
    (0x8, "hardware slowdown"),
    (0x20, "software thermal limit"),
    (0x40, "hardware thermal limit"),
    (0x80, "power brake"),
)
# The newer drivers' name for the reasons, and the older ones'.
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver lists it."""

    name: str
    driver: str


def query_gpus(*fields: str) -> list[list[str]]:
    """One row of answers for each GPU; empty without a driver, or where it does not know a field."""
    answer = answer_of("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines()]
    return [row for row in rows if len(row) == len(fields)]


def installed_gpus() -> list[Gpu]:
    """The GPUs that the driver shows, also those that CUDA_VISIBLE_DEVICES hides; empty without a driver."""
    return [Gpu(name, driver) for name, driver in query_gpus("name", "driver_version")]


def usable_gpus() -> int:
    """How many of them CUDA_VISIBLE_DEVICES leaves, as far as that is known without CUDA: those before a -1."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    if devices is None:
        return len(installed_gpus())
    return len([one for one in takewhile(lambda one: not one.startswith("-"), devices.split(",")) if one])


def asked_processes(gpus: int) -> int | None:
    """Processes that torchrun starts or was told to start on this machine; None where nobody told it a number."""
    names = ("LOCAL_WORLD_SIZE", "NPROC_PER_NODE", "PET_NPROC_PER_NODE")
    asked = next(filter(None, map(os.environ.get, names)), "")
    return gpus if asked == "gpu" else int(asked) if asked.isdigit() else None


def check_device() -> Check:
    """What torch will train on."""
    import torch

    if not torch.cuda.is_available():
        return Check("device", "ok", "CPU: the demo and the lab run here; 100M parameters and more need a GPU")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    found = f"{len(names)} × {names[0]}, {memory:.0f} GiB"
    if len(set(names)) > 1:
        fix = "the slowest card sets the pace: CUDA_VISIBLE_DEVICES with cards of one kind"
        return Check("device", "warn", f"{found}, and others: {', '.join(sorted(set(names[1:])))}", fix)
    too_old = torch.cuda.get_device_capability(0) < (8, 0)
    return judge("device", found, warn_if=too_old, fix="BF16 needs an A100 or newer: use precision fp16")


def check_gpu_count() -> Check:
    """As many GPUs as torchrun is told to start ranks for."""
    import torch

    count, shown = torch.cuda.device_count(), len(installed_gpus())
    wanted = asked_processes(count) or 0
    found = f"{count} for torch, {shown} in the machine" + (f", {wanted} ranks asked for" if wanted else "")
    if shown and wanted > count:
        fix = f"a rank needs a GPU of its own: NPROC_PER_NODE={max(count, 1)}, or a larger CUDA_VISIBLE_DEVICES"
        return Check("GPU count", "fail", found, fix)
    fix = "CUDA_VISIBLE_DEVICES hides some: unset it, or mean it"
    return judge("GPU count", found, warn_if=0 < count < shown, fix=fix)


def check_gpu_errors() -> Check:
    """Memory errors that ECC could not correct."""
    rows = query_gpus("ecc.errors.uncorrected.volatile.total", "ecc.errors.uncorrected.aggregate.total")
    if not rows:
        return Check("GPU memory errors", "ok", _nothing("nvidia-smi tells none"))
    volatile, aggregate = (sum(int(row[at]) for row in rows if row[at].isdigit()) for at in (0, 1))
    if not any(cell.isdigit() for row in rows for cell in row):
        return Check("GPU memory errors", "ok", "no ECC on this card")
    found = f"uncorrected: {volatile} since the driver was loaded, {aggregate} ever"
    fix = "a card with uncorrected errors spoils runs: nvidia-smi -q -d ECC says which; rent another machine"
    return judge("GPU memory errors", found, fail_if=volatile > 0, warn_if=aggregate > 0, fix=fix)


def check_gpu_heat() -> Check:
    """Temperature, and whether the card holds its clocks down because of heat or power."""
    for reasons in REASONS:
        rows = query_gpus("temperature.gpu", reasons)
        if rows:
            break
    else:
        return Check("GPU heat", "ok", _nothing("nvidia-smi tells none"))
    hottest = max((int(row[0]) for row in rows if row[0].isdigit()), default=0)
    bits = 0
    for row in rows:
        bits |= int(row[1], 16) if re.fullmatch(r"0x[0-9a-fA-F]+", row[1]) else 0
    held = [text for bit, text in THROTTLED if bits & bit]
    found = f"{hottest} °C" + (f", clocks held down: {', '.join(held)}" if held else "")
    fix = "it will train below its speed: look for blocked cooling or a weak power supply, or rent another machine"
    return judge("GPU heat", found, warn_if=hottest >= HOT_CELSIUS or bool(held), fix=fix)


def check_gpu_is_free() -> Check:
    """Whether other processes hold memory on the cards."""
    rows = query_gpus("index", "memory.used", "memory.total", "utilization.gpu")
    if not rows:
        return Check("GPU is free", "ok", _nothing("nvidia-smi tells nothing"))
    taken = [
        f"GPU {index}: {int(used) / 1024:.1f} of {int(total) / 1024:.0f} GiB, {use}% busy"
        for index, used, total, use in rows
        if used.isdigit() and total.isdigit() and int(used) > TAKEN_MIB
    ]
    fix = "nvidia-smi lists the processes (in a container perhaps not): end your own, or take another card"
    return judge("GPU is free", "; ".join(taken) or "nothing else on it", warn_if=bool(taken), fix=fix)


def check_persistence() -> Check:
    """Persistence mode: without it the driver unloads between runs and each start waits for it."""
    rows = query_gpus("persistence_mode")
    if not rows:
        return Check("GPU persistence", "ok", _nothing("nvidia-smi tells nothing"))
    off = any(row[0] == "Disabled" for row in rows)
    fix = "starts take seconds longer: nvidia-smi -pm 1 as root (on a rented machine leave it)"
    return judge("GPU persistence", "off" if off else "on", warn_if=off, fix=fix)


def check_gpu_links() -> Check:
    """Whether the GPUs reach one another's memory, and over what."""
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        return Check("GPU links", "ok", "one GPU needs none" if count else "no GPU here")
    pairs = [(one, other) for one in range(count) for other in range(count) if one < other]
    apart = [pair for pair in pairs if not torch.cuda.can_device_access_peer(*pair)]
    links = re.findall(r"\bNV(\d+)\b", answer_of("nvidia-smi", "topo", "-m"))
    found = f"NVLink, {max(map(int, links))} lanes" if links else "PCIe"
    found += f"; no peer access between {len(apart)} of {len(pairs)} pairs" if apart else ""
    fix = (
        "tensor parallelism would crawl: use data parallelism (parallel.tensor=1) on this machine; without peer access "
        "also look whether the IOMMU or ACS is on"
    )
    return judge("GPU links", found, warn_if=bool(apart) or not links, fix=fix)


def _nothing(words: str) -> str:
    return words if installed_gpus() else "no GPU here"
