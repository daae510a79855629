"""A small dataset and small runs of the real trainer, made once for all tests that need them."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from commands import megatron_recipe, run, torchrun_command
from small_dataset import write_dataset
from small_runs import arguments

# A shell that runs the tests in the background has SIGINT ignored, and every command under test would inherit that:
# the tests of Ctrl-C would send a signal that nothing receives.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset") / "small")


@pytest.fixture(scope="session")
def half_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run stopped at step 5 by one process, to be copied and continued."""
    folder = tmp_path_factory.mktemp("half")
    stop = "train.stop_at_step=5"
    result = megatron_recipe("train", "gpt_tiny_cpu", *arguments(dataset, folder / "run", stop), cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def resumed_run(dataset: Path, half_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`half_run` continued to step 10 by another process, in the same layout."""
    folder = Path(shutil.copytree(half_run, tmp_path_factory.mktemp("resumed") / "run"))
    result = run(torchrun_command(1, arguments(dataset, folder, "train.stop_at_step=10")), folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Instead of xdist's own, whatever `--dist` says."""
    from spread import Spread

    return Spread(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In xdist's processes: the order that spread.py gives. One process alone keeps the usual one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        from spread import place

        items.sort(key=lambda item: place(item.nodeid))
