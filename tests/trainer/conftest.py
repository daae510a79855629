"""Megatron inside the test's process, without leaving a trace in it; and a run of two processes."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run_warm, torchrun_command
from small_runs import arguments
from torch.overrides import _get_current_function_mode_stack, _pop_mode

from megatron_recipe.config import Config
from megatron_recipe.cpu_backend import CudaMeansCpu
from megatron_recipe.parallel import process_groups
from megatron_recipe.recipes import load_config


@pytest.fixture
def tiny_config() -> Config:
    return load_config("gpt_tiny_cpu")


@pytest.fixture(scope="session")
def two_process_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight steps by two data-parallel processes, with a checkpoint after the fourth.

    No validation stands before that save: with the distributed optimizer, weights are still to be gathered then.
    """
    folder = tmp_path_factory.mktemp("two_processes") / "run"
    overrides = ("train.stop_at_step=8", "checkpoint.save_every_steps=4")
    result = run_warm(torchrun_command(2, arguments(dataset, folder, *overrides)), folder.parent)
    assert result.returncode == 0, result.stderr
    return folder


@contextmanager
def groups_on_the_cpu() -> Iterator[None]:
    """Process groups of one process on the CPU; afterwards torch is what it was."""
    kept = {module: dict(vars(module)) for module in (torch.cuda, torch.cuda.random)}
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.cuda.is_available = lambda: False
    try:
        with process_groups(load_config("gpt_tiny_cpu")):
            yield
    finally:
        for module, attributes in kept.items():
            vars(module).update(attributes)
        if any(isinstance(mode, CudaMeansCpu) for mode in _get_current_function_mode_stack()):
            _pop_mode()
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])
        random.setstate(state[2])


@pytest.fixture
def megatron_groups() -> Iterator[None]:
    """Process groups of one process for one test."""
    with groups_on_the_cpu():
        yield


@pytest.fixture(scope="module")
def module_groups() -> Iterator[None]:
    """The same for all tests of a file, which share what they build."""
    with groups_on_the_cpu():
        yield
