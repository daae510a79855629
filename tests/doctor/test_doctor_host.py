"""Cores, memory, limits, disks: a container's limits count, and what is short is named."""

import resource
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from fake_gpus import H100

from megatron_recipe.doctor import host


def test_a_small_shm_and_a_small_disk_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.shutil, "disk_usage", lambda path: SimpleNamespace(free=64 * 2**20))
    assert "--shm-size" in host.check_shared_memory().fix
    assert host.check_disk().status == "fail"


def test_shm_is_wanted_by_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * 2**30))
    monkeypatch.setattr(host, "installed_gpus", lambda: [H100] * 2)
    assert host.check_shared_memory().status == "ok"
    monkeypatch.setattr(host, "installed_gpus", lambda: [H100] * 8)
    check = host.check_shared_memory()
    assert check.status == "warn"
    assert "4 GiB are wanted" in check.fix


@pytest.mark.parametrize(("limit", "expected_gib"), [(str(4 * 2**30), 4.0), ("", None)])
def test_the_containers_memory_limit_counts(
    monkeypatch: pytest.MonkeyPatch, limit: str, expected_gib: float | None
) -> None:
    monkeypatch.setattr(host, "cgroup_value", lambda *files: limit)
    expected = expected_gib or psutil.virtual_memory().total / 2**30
    assert host.usable_memory_gib() == pytest.approx(expected)


def test_the_containers_cpu_quota_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cgroup_value", lambda *files: "150000 100000")
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda pid: set(range(64)))
    assert host.usable_cores() == 1.5
    assert host.check_cores().status == "warn"


def test_few_cores_for_many_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "usable_cores", lambda: 8.0)
    monkeypatch.setattr(host, "installed_gpus", lambda: [H100] * 8)
    assert "8 GPUs want 32 cores" in host.check_cores().fix


def test_a_machine_that_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=3 * 2**30, total=8 * 2**30))
    check = host.check_swap()
    assert (check.status, check.found) == ("warn", "3.0 of 8.0 GiB used")


@pytest.mark.parametrize(("soft", "gpus", "status"), [(-1, 2, "ok"), (8 * 2**20, 2, "warn"), (8 * 2**20, 1, "ok")])
def test_locked_memory(monkeypatch: pytest.MonkeyPatch, soft: int, gpus: int, status: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, soft))
    monkeypatch.setattr(host, "installed_gpus", lambda: [H100] * gpus)
    assert host.check_locked_memory().status == status


def test_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert "ulimit -n 4096" in host.check_open_files().fix


def test_a_folder_that_cannot_be_written_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", kwargs["dir"])

    monkeypatch.setattr(host.tempfile, "NamedTemporaryFile", refuse)
    assert host.check_write_speed().status == "fail"


def test_a_slow_disk_is_measured_in_time_and_nothing_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "WRITE_TEST_SECONDS", 0.05)
    monkeypatch.setattr(host.os, "fsync", lambda file: time.sleep(0.1))
    check = host.check_write_speed()
    assert check.status == "warn"
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_time_zone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    assert host.check_time_zone().found.startswith("Asia/Shanghai (UTC+8)")
    monkeypatch.delenv("TZ")
    time.tzset()
