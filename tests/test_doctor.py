"""The doctor: every check answers, a lack is named with its fix, a raising check does not hide the others."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from megatron_recipe import doctor
from megatron_recipe.doctor import Check


def test_this_machine_passes_or_says_how_to_mend_it():
    results = doctor.run_doctor()
    assert len(results) == len(doctor.CHECKS)
    for check in results:
        assert check.found
        assert bool(check.fix) == (check.status != "ok"), check
    named = {check.name: check for check in results}
    assert named["megatron-core"].status == named["dataset helpers"].status == named["torch"].status == "ok"


def test_a_check_that_raises_is_a_failure_among_the_others():
    def check_broken_package() -> Check:
        raise ImportError("libcudart.so.13: cannot open shared object file")

    broken, fine = doctor.run_doctor((check_broken_package, doctor.check_python))
    assert (broken.status, broken.name) == ("fail", "broken package")
    assert "libcudart" in broken.found
    assert fine.status == "ok"


@pytest.mark.parametrize(
    ("driver", "words"),
    [("535.104.05", "driver 580 or newer"), ("580.65.06", "CUDA_VISIBLE_DEVICES")],
)
def test_a_gpu_that_torch_cannot_use_is_a_failure_with_its_cause(monkeypatch, driver, words):
    monkeypatch.setattr(doctor, "visible_gpus", lambda: [("NVIDIA H100", driver)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    check = doctor.check_torch()
    assert check.status == "fail" and words in check.fix and driver in check.found


def test_nvidia_smi_is_read(monkeypatch):
    answer = SimpleNamespace(
        returncode=0, stdout="NVIDIA H100 80GB HBM3, 580.65.06\nNVIDIA H100 80GB HBM3, 580.65.06\n"
    )
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *args, **kwargs: answer)
    assert doctor.visible_gpus() == [("NVIDIA H100 80GB HBM3", "580.65.06")] * 2


def test_a_replaced_torch_is_a_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    note = tmp_path / ".image_torch"
    note.write_text(f"{torch.__version__} {torch.__file__}\n")
    assert doctor.check_torch_is_the_images().status == "ok"
    note.write_text("2.9.0a0+nv /usr/local/lib/python3.12/dist-packages/torch/__init__.py\n")
    check = doctor.check_torch_is_the_images()
    assert check.status == "fail" and "2.9.0a0+nv" in check.fix


def test_the_other_apex_of_pypi_is_a_failure(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object() if name == "apex" else None)
    check = doctor.check_apex()
    assert check.status == "fail" and "pip uninstall apex" in check.fix


def test_a_transformer_engine_without_its_torch_extension_is_a_failure(monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda name: "2.20.2" if name == "transformer-engine" else None)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.check_transformer_engine().status == "fail"


def test_a_small_shm_and_a_small_disk_are_named(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=64 * 2**20))
    assert "--shm-size" in doctor.check_shared_memory().fix
    assert doctor.check_disk().status == "fail"


@pytest.mark.parametrize(("limit", "expected_gib"), [(str(4 * 2**30), 4.0), ("", None)])
def test_the_containers_memory_limit_counts(monkeypatch, limit, expected_gib):
    monkeypatch.setattr(doctor, "cgroup_value", lambda *files: limit)
    import psutil

    expected = expected_gib or psutil.virtual_memory().total / 2**30
    assert doctor.usable_memory_gib() == pytest.approx(expected)


def test_the_containers_cpu_quota_counts(monkeypatch):
    monkeypatch.setattr(doctor, "cgroup_value", lambda *files: "150000 100000")
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: set(range(64)))
    assert doctor.usable_cores() == 1.5


def test_a_folder_that_cannot_be_written_is_a_failure(monkeypatch):
    def refuse(**kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", kwargs["dir"])

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refuse)
    assert doctor.check_write_speed().status == "fail"


def test_printing_gives_json_or_lines_and_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "run_doctor", lambda: [Check("memory", "fail", "1.0 GiB", "rent more")])
    assert doctor.print_doctor(json_output=True) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"name": "memory", "status": "fail", "found": "1.0 GiB", "fix": "rent more"}
    ]
    assert doctor.print_doctor(json_output=False) == 1
    assert capsys.readouterr().out == "fail  memory: 1.0 GiB  → rent more\n"
    doctor._print_table([Check("memory", "ok", "1.0 GiB")])
    monkeypatch.setattr(doctor, "run_doctor", lambda: [Check("memory", "warn", "4 GiB", "rent more")])
    assert doctor.print_doctor(json_output=False) == 0


def test_doctor_leaves_no_file_behind(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    doctor.check_write_speed()
    assert list(Path(tmp_path).iterdir()) == []
