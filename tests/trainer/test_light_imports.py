"""Imports without what a run has no use for: afterwards all is where it was, and nothing is left out on a GPU."""

import gc
import importlib
import sys

import pytest
import torch

from megatron_recipe.light_imports import light_imports

LIBRARY = """
import gc
import torch
try:
    import wandb
except ImportError:
    wandb = None
collects = gc.isenabled()

@torch.compile
def plain(x): return x

@torch.compile(dynamic=True)
def with_options(x): return x
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A module that does what Megatron does at its import; `wandb` is installed, and not imported yet."""
    (tmp_path / "library_of_test.py").write_text(LIBRARY)
    (tmp_path / "wandb.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("library_of_test", "wandb"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def imported():
        return importlib.import_module("library_of_test")

    yield imported
    for name in ("library_of_test", "wandb"):
        sys.modules.pop(name, None)


def is_compiled(function) -> bool:
    return hasattr(function, "_torchdynamo_orig_callable")


def test_what_a_run_does_not_use_is_left_out(library):
    with light_imports():
        module = library()
    assert module.wandb is None and not module.collects
    assert not is_compiled(module.plain) and not is_compiled(module.with_options)
    assert module.plain(3) == module.with_options(3) == 3


def test_on_a_gpu_functions_are_compiled(library, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with light_imports():
        module = library()
    assert is_compiled(module.plain) and is_compiled(module.with_options)


@pytest.mark.parametrize("error", [None, ImportError("no such file")])
def test_afterwards_all_is_as_before(library, error):
    compile_function = torch.compile
    try:
        with light_imports():
            if error:
                raise error
    except ImportError as raised:
        assert raised is error
    assert torch.compile is compile_function and gc.isenabled()
    assert library().wandb is not None


def test_what_is_imported_already_stays(library):
    wandb = importlib.import_module("wandb")
    with light_imports():
        assert library().wandb is wandb
    assert sys.modules["wandb"] is wandb
