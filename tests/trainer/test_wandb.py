"""W&B and SwanLab get the numbers of metrics.jsonl, continue the same run, and never hold a run up.

With W&B's and SwanLab's own packages; without them these tests skip themselves.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from wandb_files import logged_numbers, wandb_history, wandb_records

from megatron_recipe.errors import MachineError
from megatron_recipe.loggers import RunLog, check_packages, requirements
from megatron_recipe.recipes import load_config
from megatron_recipe.sync_command import sync_command

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed (extra `tracking`)")
needs_swanlab = pytest.mark.skipif(find_spec("swanlab") is None, reason="swanlab is not installed")

KEY = "0123456789abcdef" * 2 + "01234567"
NOWHERE = "http://127.0.0.1:9"  # the discard port, which nothing listens on
WRITER = """
import sys, time
from pathlib import Path
from megatron_recipe.loggers import RunLog
from megatron_recipe.recipes import load_config
run_dir, last, overrides = Path(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3:])
config = load_config("gpt_tiny_cpu", overrides)
began = time.monotonic()
log = RunLog(run_dir, config, last)
(run_dir / "opened").write_text(str(time.monotonic() - began))
for step in range(last + 1, last + 4):
    log.metric("train", {"step": step, "loss": 1 / step, "mfu_full": None, "note": "x", "tokens": 10**10 + step})
log.rewind(last + 1)
for step in range(last + 2, last + 5):
    log.metric("train", {"step": step, "loss": 2 / step})
log.metric("validation/zh", {"step": last + 4, "loss": 0.1})
log.close()
"""


def write_run(run_dir: Path, last: int, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Log some steps after `last` from a process of its own, as a run does."""
    run_dir.mkdir(exist_ok=True)
    command = [sys.executable, "-c", WRITER, str(run_dir), str(last), "logging.tensorboard=false", *overrides]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "SWANLAB"))}
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


@needs_wandb
def test_offline_files_hold_the_numbers_of_metrics_jsonl_in_one_run(tmp_path):
    run_dir = tmp_path / "my run"
    first = write_run(run_dir, 0, "logging.wandb=offline")
    time.sleep(1.1)  # W&B names its folders by the second
    second = write_run(run_dir, 4, "logging.wandb=offline")
    assert wandb_history(run_dir) == logged_numbers(run_dir)
    assert [row["step"] for row in wandb_history(run_dir)] == [1, 2, 3, 2, 3, 4, 4, 5, 6, 7, 6, 7, 8, 8]
    files = sorted(run_dir.glob("wandb/*run-*/*.wandb"))
    runs = [record.run for file in files for record in wandb_records(file) if record.HasField("run")]
    assert len(files) == 2
    assert len({run.run_id for run in runs}) == 1
    assert {run.display_name for run in runs} == {"my run"}
    metrics = [record.metric for record in wandb_records(files[0]) if record.HasField("metric")]
    assert [metric.step_metric for metric in metrics if metric.glob_name == "*"] == ["step"]
    for done in (first, second):
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert "megatron-recipe sync" in done.stderr


@pytest.fixture
def broken_service() -> Iterator[str]:
    """A server that answers every request with an error, as a proxy's page does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(503)
            self.end_headers()

        do_GET = do_HEAD = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@needs_wandb
@pytest.mark.slow
def test_online_without_the_service_becomes_offline_within_ten_seconds(tmp_path, broken_service):
    for name, address in (("refused", NOWHERE), ("faults", broken_service)):
        run_dir = tmp_path / name
        done = write_run(run_dir, 0, "logging.wandb=online", WANDB_BASE_URL=address, WANDB_API_KEY=KEY)
        assert float((run_dir / "opened").read_text()) < 10
        assert wandb_history(run_dir) == logged_numbers(run_dir)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("warning: W&B is not reached")
        assert not (run_dir / "events.jsonl").exists()  # no logger failed


@needs_wandb
def test_sync_says_that_the_service_is_not_reached(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", NOWHERE)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with pytest.raises(MachineError, match="no W&B files"):
        sync_command(tmp_path)
    write_run(tmp_path / "run", 0, "logging.wandb=offline")
    with pytest.raises(MachineError, match=r"127\.0\.0\.1:9.*run the same command again") as error:
        sync_command(tmp_path / "run")
    assert KEY not in str(error.value)


@needs_swanlab
def test_swanlab_keeps_the_numbers_below_the_run_folder(tmp_path):
    done = write_run(tmp_path / "run", 0, "logging.swanlab=local")
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    first_pass: dict[tuple[int, str], float] = {}
    for row in logged_numbers(tmp_path / "run"):
        for name, value in row.items():
            first_pass.setdefault((int(row["step"]), name), value)
    wanted = [(*key, value) for key, value in first_pass.items() if key[1] != "step"]
    assert swanlab_numbers(tmp_path / "run") == wanted


def swanlab_numbers(run_dir: Path) -> list[tuple[int, str, float]]:
    """Step, name and value of each scalar, through SwanLab's own reader."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    (file,) = run_dir.glob("swanlab/run-*/*.swanlab")
    reader = DataStoreReader()
    reader.open(file)
    records = [Record.FromString(data) for data in reader]
    reader.close()
    scalars = [record.scalar for record in records if record.HasField("scalar")]
    return [(scalar.step, scalar.key, scalar.value.number) for scalar in scalars]


def test_a_logger_that_is_not_installed_is_named_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(requirements, "find_spec", lambda package: None)
    config = load_config("gpt_tiny_cpu", ("logging.wandb=offline",))
    with pytest.raises(MachineError, match=r"pip install 'megatron-recipe\[tracking\]'"):
        check_packages(config)
    with pytest.raises(MachineError, match=r"logging\.wandb=offline"):
        RunLog(tmp_path, config, 0)
