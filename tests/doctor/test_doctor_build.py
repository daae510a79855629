"""`doctor --build`: what an image must hold, and what it must not."""

import subprocess
from pathlib import Path

import pytest

from megatron_recipe.doctor import build


def test_a_key_in_the_environment_fails_the_build_and_is_named_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "HF_TOKEN", "REGISTRY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert build.check_no_secret().status == "ok"
    monkeypatch.setenv("HF_TOKEN", "planted-value")
    check = build.check_no_secret()
    assert check.status == "fail" and "HF_TOKEN" in check.found
    assert "planted-value" not in check.found + check.fix


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("ImportError: libcuda.so.1: cannot open shared object file", "warn"),  # a build has no driver
        ("FileNotFoundError: Could not find shared object file for Transformer Engine torch lib", "fail"),
    ],
)
def test_an_import_that_fails_for_want_of_a_driver_is_no_fault_of_the_image(
    error: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 1, "", f"Traceback\n{error}\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    check = build.check_megatron_imports()
    assert (check.status, check.found) == (status, error)


def test_launch_files_must_be_there_and_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.check_launch_files().status == "ok"
    monkeypatch.setattr(build, "LAUNCH", tmp_path)
    assert build.check_launch_files().status == "fail"
    (tmp_path / "pretrain_x.sh").touch(mode=0o644)
    check = build.check_launch_files()
    assert check.status == "fail" and "not executable: pretrain_x.sh" in check.found


def test_pynvml_is_only_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert build.check_monitoring().status == "warn"
