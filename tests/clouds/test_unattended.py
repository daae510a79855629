"""`launch run`: again after a crash, never again after a mistake, and signals passed on."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import ENVIRONMENT, recipe_command
from runpod_service import KEY

from megatron_recipe.clouds.unattended import Unattended, launch_command, run_unattended
from megatron_recipe.errors import ConfigError


def launch_file(folder: Path, *codes: int) -> list[str]:
    """A script that ends with these codes, one after the other, and counts its starts."""
    script = folder / "launch.sh"
    cases = " ".join(f"{index}) exit {code};;" for index, code in enumerate(codes, start=1))
    script.write_text(f'echo "$*" >>{folder}/starts\ncase $(wc -l <{folder}/starts) in {cases} esac\n')
    return ["bash", str(script), "--set", "a=b"]


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


@pytest.mark.parametrize(
    ("codes", "expected", "count"),
    [((1, 1, 0), 0, 3), ((2,), 2, 1), ((1, 2), 2, 2), ((1, 134, 1, 0), 1, 3), ((0,), 0, 1)],
)
def test_a_crash_is_tried_again_and_a_mistake_is_not(
    tmp_path: Path, codes: tuple[int, ...], expected: int, count: int
) -> None:
    slept: list[float] = []
    assert Unattended(launch_file(tmp_path, *codes), sleep=slept.append).run() == expected
    assert starts(tmp_path) == count
    assert slept == [20.0] * (count - 1)


def test_sigterm_is_passed_on_and_ends_it(tmp_path: Path) -> None:
    script = tmp_path / "launch.sh"
    script.write_text(
        f"trap 'touch {tmp_path}/saved; exit 0' TERM\ntouch {tmp_path}/up\nwhile :; do sleep 0.05; done\n"
    )
    process = subprocess.Popen(recipe_command(["launch", "run", script]), env=ENVIRONMENT, cwd=tmp_path)
    wait_for(tmp_path / "up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert (tmp_path / "saved").exists()


def test_the_main_process_of_a_pod_does_not_end_with_the_run(tmp_path: Path) -> None:
    """RunPod would start the container anew, and the run in it, for ever."""
    launch_file(tmp_path, 2)
    environment = {**ENVIRONMENT, "RUNPOD_POD_ID": "pod1", "RUNPOD_API_KEY": KEY}
    command = recipe_command(["launch", "run", "--idle-minutes", "0", tmp_path / "launch.sh"])
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "starts")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    process.terminate()
    _, said = process.communicate(timeout=20)
    assert "the input is wrong" in said
    assert starts(tmp_path) == 1


def test_what_would_be_done_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    launch_file(tmp_path, 0)
    assert run_unattended(str(tmp_path / "launch.sh"), ["--set", "a=b"], 30, dry_run=True) == 0
    assert "launch.sh --set a=b; after 30 idle minutes nothing is shut down" in capsys.readouterr().err
    monkeypatch.setenv("RUNPOD_POD_ID", "pod1")
    assert run_unattended(str(tmp_path / "launch.sh"), [], 30, dry_run=True) == 0
    assert "not shut down when it idles: no key in RUNPOD_API_KEY" in capsys.readouterr().err
    assert not (tmp_path / "starts").exists()
    with pytest.raises(ConfigError, match="no such file"):
        run_unattended("launch/none.sh", [], 30, dry_run=False)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


def test_a_launch_file_is_found_beside_the_package_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the image `runtime` one begins in /data, and the launch files lie in /opt/recipe."""
    monkeypatch.chdir(tmp_path)
    command = launch_command("launch/pretrain_tiny.sh", ["--dry-run"])
    assert Path(command[1]).is_file()
    assert command[2:] == ["--dry-run"]
    with pytest.raises(ConfigError, match=r"launch files are launch/pretrain_100m\.sh"):
        launch_command("launch/pretrain_9b.sh", [])


def test_a_signal_in_the_pause_after_a_crash_ends_it(tmp_path: Path) -> None:
    work = Unattended(launch_file(tmp_path, 1, 0), sleep=lambda seconds: signal.raise_signal(signal.SIGTERM))
    assert work.run() == 1
    assert starts(tmp_path) == 1
