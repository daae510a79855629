"""What a GPU says of itself through NVML: how busy, how hot, how fast, how healthy, at what cost in energy.

Readings come from the driver and don't disturb the GPU's work; one round takes about a millisecond.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from megatron_recipe import console
from megatron_recipe.rank_readings import Reading, values_of

# Bits of NVML's clock event reasons (nvml.h, nvmlClocksEventReason…). An idle GPU and clocks set by hand are not told.
THROTTLE_REASONS = (
    (0x4, "power cap"),
    (0x8, "hardware slowdown"),
    (0x10, "sync boost"),
    (0x20, "software thermal limit"),
    (0x40, "hardware thermal limit"),
    (0x80, "power brake"),
)
UNCORRECTED, SINCE_DRIVER_LOAD = 1, 0
SM_CLOCK, MEMORY_CLOCK = 1, 2
CORE_TEMPERATURE = 0


class GpuMonitor:
    """NVML readings of one GPU.

    Args:
        device: the GPU's UUID, as CUDA reports it, or its number among NVML's, which CUDA_VISIBLE_DEVICES does not
            change; None where there is no GPU.
        nvml: the module `pynvml`; None imports it.
    """

    def __init__(self, device: str | int | None, nvml: Any = None) -> None:
        self.nvml, self.handle = nvml, None
        self.joules_before: float | None = None
        if device is None:
            return
        try:
            self.nvml = nvml or import_module("pynvml")
            self.nvml.nvmlInit()
            by_name = isinstance(device, str)
            self.handle = (self.nvml.nvmlDeviceGetHandleByUUID if by_name else self.nvml.nvmlDeviceGetHandleByIndex)(
                device
            )
        except ImportError:
            console.warn("no GPU readings: the package nvidia-ml-py is not installed; pip install nvidia-ml-py")
        except Exception as error:  # NVMLError is a class of the module that may be absent
            console.warn(f"no GPU readings: NVML answers {error}")

    def read(self) -> Reading:
        """Readings of this moment; what the card or the driver does not tell is left out, without NVML all.

        gpu_utilisation_percent (of the last fraction of a second), gpu_memory_used_gb (of all processes),
        gpu_power_watts, gpu_temperature_celsius, gpu_sm_clock_mhz, gpu_memory_clock_mhz, gpu_throttle (why clocks are
        held down, empty where they are not), gpu_ecc_errors (uncorrected, since the driver was loaded),
        gpu_energy_joules (since the first reading).
        """
        if self.handle is None:
            return {}
        nvml, handle = self.nvml, self.handle
        questions: dict[str, Callable[[], Any]] = {
            "gpu_utilisation_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "gpu_memory_used_gb": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / 1e9,
            "gpu_power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "gpu_temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(handle, CORE_TEMPERATURE),
            "gpu_sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, SM_CLOCK),
            "gpu_memory_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, MEMORY_CLOCK),
            "gpu_throttle": lambda: throttle_text(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
            "gpu_ecc_errors": lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, UNCORRECTED, SINCE_DRIVER_LOAD),
            "gpu_energy_joules": self._joules,
        }
        reading: Reading = {}
        for name, question in questions.items():
            try:
                reading[name] = question()
            except nvml.NVMLError:  # a card without ECC, a driver without an energy counter
                continue
        return reading

    def _joules(self) -> float:
        joules = self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1e3
        if self.joules_before is None:
            self.joules_before = joules
        return joules - self.joules_before


def throttle_text(reasons: int) -> str:
    """NVML's bits in words; empty where nothing holds the clocks down."""
    return ", ".join(text for bit, text in THROTTLE_REASONS if reasons & bit)


def gpu_of(device: torch.device) -> str | None:
    """The UUID by which NVML knows a torch device; None for the CPU."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def gpu_summary(readings: list[Reading]) -> dict[str, Any]:
    """All GPUs' readings in a few fields of a record; nothing for what no rank has read."""
    fields = (
        ("gpu_utilisation_mean", "gpu_utilisation_percent", lambda values: sum(values) / len(values)),
        ("gpu_utilisation_min", "gpu_utilisation_percent", min),
        ("gpu_memory_used_gb_max", "gpu_memory_used_gb", max),
        ("gpu_power_watts", "gpu_power_watts", sum),
        ("gpu_temperature_max", "gpu_temperature_celsius", max),
        ("gpu_sm_clock_mhz_min", "gpu_sm_clock_mhz", min),
        ("gpu_memory_clock_mhz_min", "gpu_memory_clock_mhz", min),
        ("gpu_ecc_errors", "gpu_ecc_errors", sum),
        ("gpu_energy_joules", "gpu_energy_joules", sum),
    )
    summary: dict[str, Any] = {}
    for name, source, combine in fields:
        values = values_of(readings, source)
        if values:
            summary[name] = combine(values)
    reasons = {reason for reading in readings for reason in reading.get("gpu_throttle", "").split(", ") if reason}
    if reasons:
        summary["gpu_throttle"] = ", ".join(sorted(reasons))
    return summary
