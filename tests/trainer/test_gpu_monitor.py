"""NVML's answers become readings and fields; what a card, a driver or a machine lacks is left out."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from megatron_recipe.gpu_monitor import GpuMonitor, gpu_of, gpu_summary, throttle_text


class NVMLError(Exception):
    pass


class FakeNvml:
    """One card, known as GPU-1, that answers what it is told to."""

    NVMLError = NVMLError

    def __init__(self, *unsupported: str) -> None:
        self.unsupported = unsupported
        self.millijoules = 5_000_000
        self.opened: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "unsupported"):

            def refuse(*arguments: object) -> None:
                raise NVMLError("Not Supported")

            return refuse
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-1":
            raise NVMLError("Not Found")
        self.opened.append(uuid)
        return "handle"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        self.opened.append(index)
        return "handle"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        return SimpleNamespace(gpu=97, memory=40)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return SimpleNamespace(used=38_500_000_000, total=80_000_000_000)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return 650_250

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return {0: 61}[sensor]

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:
        return {1: 1980, 2: 2619}[clock]

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return 0x4 | 0x20 | 0x1

    def nvmlDeviceGetTotalEccErrors(self, handle: str, error: int, counter: int) -> int:
        return {(1, 0): 2}[error, counter]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return self.millijoules


def test_a_reading_has_the_units_of_its_names():
    nvml = FakeNvml()
    monitor = GpuMonitor("GPU-1", nvml)
    assert monitor.read()["gpu_energy_joules"] == 0
    nvml.millijoules += 1_500_000
    assert monitor.read() == {
        "gpu_utilisation_percent": 97,
        "gpu_memory_used_gb": 38.5,
        "gpu_power_watts": 650.25,
        "gpu_temperature_celsius": 61,
        "gpu_sm_clock_mhz": 1980,
        "gpu_memory_clock_mhz": 2619,
        "gpu_throttle": "power cap, software thermal limit",
        "gpu_ecc_errors": 2,
        "gpu_energy_joules": 1500,
    }
    GpuMonitor(3, nvml)
    assert nvml.opened == ["GPU-1", 3]


def test_what_the_card_does_not_tell_is_left_out():
    reading = GpuMonitor(0, FakeNvml("nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetTotalEnergyConsumption")).read()
    assert "gpu_power_watts" in reading
    assert not {"gpu_ecc_errors", "gpu_energy_joules"} & set(reading)


@pytest.mark.parametrize("nvml", [FakeNvml("nvmlInit"), FakeNvml()])
def test_without_nvml_or_its_card_there_is_one_warning_and_no_reading(nvml, capsys):
    monitor = GpuMonitor("GPU-of-another-machine", nvml)
    assert [monitor.read(), monitor.read()] == [{}, {}]
    assert capsys.readouterr().err.count("no GPU readings") == 1


def test_a_machine_without_a_gpu_is_silent(capsys):
    assert GpuMonitor(gpu_of(torch.device("cpu"))).read() == {}
    assert capsys.readouterr().err == ""


def test_all_cards_in_a_few_fields():
    cool = {"gpu_utilisation_percent": 90, "gpu_power_watts": 600.0, "gpu_temperature_celsius": 50, "gpu_throttle": ""}
    hot = {
        "gpu_utilisation_percent": 70,
        "gpu_power_watts": 700.0,
        "gpu_temperature_celsius": 88,
        "gpu_throttle": "power cap, hardware thermal limit",
        "gpu_ecc_errors": 1,
    }
    assert gpu_summary([cool, hot, {}]) == {
        "gpu_utilisation_mean": 80,
        "gpu_utilisation_min": 70,
        "gpu_power_watts": 1300.0,
        "gpu_temperature_max": 88,
        "gpu_ecc_errors": 1,
        "gpu_throttle": "hardware thermal limit, power cap",
    }
    assert gpu_summary([{}, {}]) == {}


def test_throttle_bits_are_words():
    assert throttle_text(0) == ""
    assert throttle_text(0x1 | 0x2) == ""  # idle, and clocks set by hand
    assert throttle_text(0x80) == "power brake"
