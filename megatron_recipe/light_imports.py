"""torch and Megatron-Core imported in half the time: every process of a run, and of a comparison, begins with that."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def light_imports() -> Iterator[None]:
    """What is imported below this comes without work that a run has no use for.

    - Python's collector of cycles looks at all objects again and again while they grow to a million, and finds none
      to free: it rests, and never looks at those objects later.
    - Megatron's timers, which nothing here uses, import W&B where it is installed. Loggers import it by themselves.
    - Megatron marks functions of its fused kernels for torch's compiler, which is loaded by the mark alone. On the CPU
      none of them is called, and the marks are left out.
    """
    gc.disable()
    try:
        with _without("wandb"), _without_marks_for_the_compiler():
            yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Importing `module`, unless it is there already, fails as if it were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


@contextmanager
def _without_marks_for_the_compiler() -> Iterator[None]:
    """On a machine without CUDA, functions marked with `torch.compile` stay as they are."""
    import torch

    if torch.cuda.is_available():
        yield
        return
    marked = torch.compile
    torch.compile = _uncompiled
    try:
        yield
    finally:
        torch.compile = marked


def _uncompiled(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    """`@torch.compile` and `@torch.compile(OPTIONS)` without a compiler."""
    return function if function is not None else _uncompiled
