"""Where the runs go on this machine: GPUs or parts of them, or cores of the CPU; and how long they may take."""

import os
from dataclasses import dataclass, replace

from megatron_recipe.config import Config
from megatron_recipe.doctor.gpu import query_gpus
from megatron_recipe.errors import ConfigError
from megatron_recipe.flops import flops_per_token, padded_vocab_size
from megatron_recipe.plan.hardware import Hardware, hardware_for, unknown_hardware
from megatron_recipe.plan.speed import expected_mfu, tokens_per_second

CPU_FLOPS_PER_THREAD = 25e9
"""What a thread of a server CPU of 2020s makes of the recipe's FP32 model, validation and saving included; a guess for
an estimate, and no measurement of this machine."""
START_SECONDS = {"cpu": 4.0, "gpu": 45.0}
"""To build and compile a run before its first step, and to save it after the last: of the order of what is usual."""
MIB = 2**20


@dataclass(frozen=True)
class Machine:
    """What runs are started on."""

    devices: list[str]
    """The GPU of each slot, as CUDA_VISIBLE_DEVICES names it; empty is the CPU."""
    hardware: Hardware | None
    """What a run has: a GPU, or its part of one; None on the CPU."""
    at_once: int
    """Runs at a time."""
    threads: int
    """Of a run on the CPU."""
    sharing: int = 1
    """Runs that one GPU has at a time."""


def this_machine(gpus: int | None, jobs: int | None, runs: int) -> Machine:
    """What is here to run on.

    Args:
        gpus: how many to use at most; None takes all, 0 none.
        jobs: runs at a time, on each GPU or on the CPU; None takes one a GPU or one a core.
        runs: how many there are to do.

    Raises:
        ConfigError: more GPUs are asked for than are there.
    """
    found = _gpus() if gpus != 0 else []
    if gpus and gpus > len(found):
        raise ConfigError(f"--gpus {gpus}: {len(found)} are visible here; use that many, or 0 for the CPU")
    if found:
        devices, sharing = [device for device, _ in found][: gpus or len(found)], jobs or 1
        at_once = min(len(devices) * sharing, max(runs, 1))
        return Machine(devices * sharing, _part(found[0][1], sharing), at_once, 1, sharing)
    cores = _cores()
    at_once = jobs or min(cores, max(runs, 1))
    return Machine([], None, at_once, max(1, cores // at_once))


def run_seconds(config: Config, vocab_size: int, tokens: int, machine: Machine) -> float | None:
    """A run's time, roughly; None where the card's speed is not known."""
    rows = padded_vocab_size(vocab_size, config.model)
    if machine.hardware is None:
        rate = CPU_FLOPS_PER_THREAD * machine.threads / flops_per_token(config.model, rows, causal=False)
        return tokens / rate + START_SECONDS["cpu"]
    recompute = config.memory.recompute if config.memory.recompute != "auto" else "none"
    mfu = expected_mfu(config, rows, machine.hardware, recompute, None)
    rate = tokens_per_second(config, rows, machine.hardware, mfu)
    return tokens * machine.sharing / rate + START_SECONDS["gpu"] if rate else None


def _part(hardware: Hardware, sharing: int) -> Hardware:
    """What each of some runs has of a GPU's memory."""
    if sharing == 1:
        return hardware
    return replace(hardware, card=f"1/{sharing} {hardware.card}", memory_bytes=hardware.memory_bytes // sharing)


def _gpus() -> list[tuple[str, Hardware]]:
    """The visible GPUs: name for CUDA_VISIBLE_DEVICES, and kind."""
    rows = query_gpus("name", "memory.total", "compute_cap")
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = [str(index) for index in range(len(rows))]
    devices = every if chosen is None else [one for one in chosen.split(",") if one]
    if not rows or not devices:
        return []
    name, memory, capability = rows[0]
    bytes_, (major, minor) = int(memory) * MIB, map(int, capability.split("."))
    hardware = hardware_for(name, bytes_, (major, minor)) or unknown_hardware(name, bytes_, (major, minor))
    return [(device, hardware) for device in devices[: len(rows)]]


def _cores() -> int:
    """Cores that this process may use; Slurm doesn't always bind what it allots."""
    bound = len(os.sched_getaffinity(0))
    return min(bound, int(os.environ.get("SLURM_CPUS_ON_NODE") or bound))
