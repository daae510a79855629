"""Packages that are missing, doubled, or do not fit the driver: each named with its fix."""

import sys
from pathlib import Path

import pytest
import torch

from megatron_recipe.doctor import software
from megatron_recipe.doctor.check import Check
from megatron_recipe.doctor.gpu import Gpu


@pytest.mark.parametrize(
    ("cuda", "driver", "words"),
    [
        ("13.0", "535.104.05", "driver 580 or newer"),
        ("13.0", "580.65.06", "CUDA_VISIBLE_DEVICES"),
        (None, "580.65.06", "this torch is for CPUs alone"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_a_failure_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, driver: str, words: str
) -> None:
    monkeypatch.setattr(software, "installed_gpus", lambda: [Gpu("NVIDIA H100", driver)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    check = software.check_torch()
    assert check.status == "fail"
    assert words in check.fix
    assert driver in check.found


def test_a_replaced_torch_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    note = tmp_path / ".image_torch"
    note.write_text(f"{torch.__version__} {torch.__file__}\n")
    assert software.check_torch_is_the_images().status == "ok"
    note.write_text("2.9.0a0+nv /usr/local/lib/python3.12/dist-packages/torch/__init__.py\n")
    check = software.check_torch_is_the_images()
    assert check.status == "fail"
    assert "2.9.0a0+nv" in check.fix


def test_a_cudnn_of_another_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(software, "version_of", lambda name: "9.19.0.56" if name == "nvidia-cudnn-cu13" else None)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    assert software.check_cudnn() == Check("cuDNN", "ok", "9.19.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90100)
    assert software.check_cudnn().found == "9.1.0, but the wheel's is 9.19.0.56"

    def refuse() -> int:
        raise RuntimeError("cuDNN version incompatibility")

    monkeypatch.setattr(torch.backends.cudnn, "version", refuse)
    check = software.check_cudnn()
    assert check.status == "fail"
    assert "LD_LIBRARY_PATH" in check.fix


def test_a_second_nccl_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 28, 9))
    monkeypatch.setattr(software, "version_of", lambda name: "2.28.9" if name == "nvidia-nccl-cu13" else None)
    assert software.check_nccl() == Check("NCCL", "ok", "2.28.9")
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 21, 5))
    assert software.check_nccl().status == "warn"


def test_the_other_apex_of_pypi_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software.importlib.util, "find_spec", lambda name: object() if name == "apex" else None)
    check = software.check_apex()
    assert check.status == "fail"
    assert "pip uninstall apex" in check.fix


def test_a_transformer_engine_without_its_torch_extension_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "version_of", lambda name: "2.20.2" if name == "transformer-engine" else None)
    monkeypatch.setattr(software.importlib.util, "find_spec", lambda name: None)
    assert software.check_transformer_engine().status == "fail"


def test_a_missing_transformer_engine_matters_on_a_gpu(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    monkeypatch.setattr(software, "version_of", lambda name: None)
    assert software.check_transformer_engine().status == "warn"


@pytest.mark.parametrize(
    ("capability", "missing", "status"),
    [((9, 0), (), "ok"), ((9, 0), ("flash-attn-4",), "warn"), ((8, 0), ("flash-attn-4", "quack-kernels"), "ok")],
)
def test_missing_fast_kernels_matter_on_hopper_cards(monkeypatch, capability, missing, status):
    monkeypatch.setattr(software, "version_of", lambda name: None if name in missing else "1.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    check = software.check_fast_kernels()
    assert check.status == status
    assert all(f"{name} missing" in check.found for name in missing)
