"""GPUs that are ill, hot, taken, too few or far apart: each named with its fix."""

from types import SimpleNamespace

import pytest
import torch
from fake_gpus import H100, smi

from megatron_recipe.doctor import gpu


def test_nvidia_smi_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    smi(monkeypatch, {"name,driver_version": "NVIDIA H100 80GB HBM3, 580.65.06\n" * 2})
    assert gpu.installed_gpus() == [H100, H100]
    assert gpu.query_gpus("unknown") == []


@pytest.mark.parametrize(
    ("answer", "status", "found"),
    [
        ("0, 0\n0, 0\n", "ok", "0 since the driver was loaded, 0 ever"),
        ("0, 0\n0, 4\n", "warn", "0 since the driver was loaded, 4 ever"),
        ("3, 4\n0, 0\n", "fail", "3 since the driver was loaded, 4 ever"),
        ("[N/A], [N/A]\n", "ok", "no ECC on this card"),
        ("", "ok", "tells none"),
    ],
)
def test_memory_errors(monkeypatch: pytest.MonkeyPatch, two_gpus: None, answer: str, status: str, found: str) -> None:
    smi(monkeypatch, {"ecc.errors": answer})
    check = gpu.check_gpu_errors()
    assert check.status == status
    assert found in check.found


@pytest.mark.parametrize("field", gpu.REASONS)
@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("41, 0x0000000000000001\n", "ok", "41 °C"),
        ("41, 0x0000000000000004\n", "ok", "41 °C"),  # the power cap is what a busy card shows
        ("88, 0x0000000000000000\n", "warn", "88 °C"),
        ("60, 0x0000000000000000\n62, 0x00000000000000C0\n", "warn", "hardware thermal limit, power brake"),
        ("[N/A], [Not Supported]\n", "ok", "0 °C"),
    ],
)
def test_heat(
    monkeypatch: pytest.MonkeyPatch, two_gpus: None, field: str, answer: str, status: str, words: str
) -> None:
    smi(monkeypatch, {f"temperature.gpu,{field}": answer})
    check = gpu.check_gpu_heat()
    assert check.status == status
    assert words in check.found


def test_a_card_that_is_taken(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    smi(monkeypatch, {"index,memory.used": "0, 450, 81559, 0\n1, 40960, 81559, 98\n"})
    check = gpu.check_gpu_is_free()
    assert check.status == "warn"
    assert check.found == "GPU 1: 40.0 of 80 GiB, 98% busy"


@pytest.mark.parametrize(("answer", "status"), [("Enabled\nEnabled\n", "ok"), ("Enabled\nDisabled\n", "warn")])
def test_persistence(monkeypatch: pytest.MonkeyPatch, two_gpus: None, answer: str, status: str) -> None:
    smi(monkeypatch, {"persistence_mode": answer})
    assert gpu.check_persistence().status == status


@pytest.mark.parametrize(
    ("seen", "environment", "status", "words"),
    [
        (2, {}, "ok", ""),
        (2, {"LOCAL_WORLD_SIZE": "2"}, "ok", ""),
        (2, {"NPROC_PER_NODE": "8"}, "fail", "NPROC_PER_NODE=2"),
        (1, {}, "warn", "CUDA_VISIBLE_DEVICES hides some"),
        (2, {"NPROC_PER_NODE": "gpu"}, "ok", ""),
        (2, {"PET_NPROC_PER_NODE": "3"}, "fail", "NPROC_PER_NODE=2"),
    ],
)
def test_gpus_and_ranks(
    monkeypatch: pytest.MonkeyPatch, two_gpus: None, seen: int, environment: dict[str, str], status: str, words: str
) -> None:
    for name in ("LOCAL_WORLD_SIZE", "NPROC_PER_NODE", "PET_NPROC_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    check = gpu.check_gpu_count()
    assert check.status == status
    assert words in check.fix


@pytest.mark.parametrize(
    ("topology", "reach", "status", "found"),
    [
        ("GPU0 X NV18\nGPU1 NV18 X\n", True, "ok", "NVLink, 18 lanes"),
        ("GPU0 X PHB\nGPU1 PHB X\n", True, "warn", "PCIe"),
        ("GPU0 X SYS\nGPU1 SYS X\n", False, "warn", "PCIe; no peer access between 1 of 1 pairs"),
    ],
)
def test_links(
    monkeypatch: pytest.MonkeyPatch, two_gpus: None, topology: str, reach: bool, status: str, found: str
) -> None:
    smi(monkeypatch, {"topo -m": topology})
    monkeypatch.setattr(torch.cuda, "can_device_access_peer", lambda one, other: reach)
    check = gpu.check_gpu_links()
    assert (check.status, check.found) == (status, found)


def test_cards_of_two_kinds(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: ("A100", "A40")[index])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=80 * 2**30))
    check = gpu.check_device()
    assert check.status == "warn"
    assert "A40" in check.found
