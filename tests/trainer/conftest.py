"""Megatron inside the test's process, without leaving a trace in it."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.overrides import _get_current_function_mode_stack, _pop_mode

from megatron_recipe.config import Config
from megatron_recipe.cpu_backend import CudaMeansCpu
from megatron_recipe.parallel import process_groups
from megatron_recipe.recipes import load_config


@pytest.fixture
def tiny_config() -> Config:
    return load_config("gpt_tiny_cpu")


@pytest.fixture
def megatron_groups(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Process groups of one process on the CPU; afterwards torch is what it was."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    kept = {module: dict(vars(module)) for module in (torch.cuda, torch.cuda.random)}
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        with process_groups(tiny_config):
            yield
    finally:
        for module, attributes in kept.items():
            vars(module).update(attributes)
        if any(isinstance(mode, CudaMeansCpu) for mode in _get_current_function_mode_stack()):
            _pop_mode()
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])
        random.setstate(state[2])
