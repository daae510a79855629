"""What lets Megatron-Core run on a machine without CUDA: a handful of substitutions, installed by `install()`.

Megatron-Core has no CPU path of its own: it names the CUDA device in tensor constructors, synchronises streams and
keeps random states on the GPU, also where the arithmetic would run anywhere. On a machine without CUDA those calls
have one sensible meaning each, and that is all this module gives them:

- "the current CUDA device" is the CPU, and `device="cuda"` in a torch call means the CPU;
- streams, events and synchronisation do nothing, since CPU work is done when the call returns;
- CUDA random states are the CPU generator's;
- `Tensor.type()` reports the CUDA name, because Megatron's clipping and distributed optimizer check that string.

Nothing here changes a number that Megatron computes. It is never installed where a GPU is present: that would hide
the GPU and train at a thousandth of its speed.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from megatron_recipe.errors import MachineError

CPU = torch.device("cpu")


class CudaMeansCpu(TorchFunctionMode):
    """Sends `device="cuda…"` arguments of torch calls to the CPU, for as long as the mode is entered."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            return func(*args).replace("torch.", "torch.cuda.")
        if "device" in kwargs:
            kwargs = {**kwargs, "device": _on_cpu(kwargs["device"])}
        if func is torch.Tensor.to:
            args = tuple(_on_cpu(argument) for argument in args)
        return func(*args, **kwargs)


class NoStream:
    """A CUDA stream or event on a machine where work is done when the call returns."""

    cuda_stream = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def synchronize(self) -> None:
        """Nothing is pending."""

    wait_stream = wait_event = record = wait = record_event = lambda self, *args, **kwargs: None

    def query(self) -> bool:
        """Whether all work is done: always."""
        return True


def is_needed() -> bool:
    """Whether this machine has no usable CUDA device."""
    return not torch.cuda.is_available()


def install() -> None:
    """Put the substitutions in place, once a process.

    Raises MachineError where CUDA is present.
    """
    if not is_needed():
        raise MachineError(
            f"the CPU backend was asked for on a machine with {torch.cuda.get_device_name(0)}: it would hide the GPU; "
            "set CUDA_VISIBLE_DEVICES= (empty) if a run on the CPU is meant"
        )
    if torch.cuda.current_device is _current_device:
        return
    # first: torch's compiler, which every optimizer imports, lists torch.cuda's functions and refuses to list one twice
    from torch import _dynamo  # noqa: F401

    generator = torch.default_generator
    replacements: dict[str, Any] = {
        "current_device": _current_device,
        "set_device": _nothing,
        "synchronize": _nothing,
        "empty_cache": _nothing,
        "Stream": NoStream,
        "Event": NoStream,
        "stream": lambda stream: nullcontext(),
        "current_stream": lambda device=None: NoStream(),
        "default_generators": [generator],
        "_lazy_call": lambda callback, **_: callback(),
        "_lazy_init": _nothing,
    }
    random = {
        "get_rng_state": lambda device=None: generator.get_state(),
        "set_rng_state": lambda state, device=None: generator.set_state(state),
        "manual_seed": generator.manual_seed,
        "initial_seed": generator.initial_seed,
    }
    for name, replacement in {**replacements, **random}.items():
        setattr(torch.cuda, name, replacement)
    for name, replacement in random.items():
        setattr(torch.cuda.random, name, replacement)
    CudaMeansCpu().__enter__()


def _current_device() -> torch.device:
    return CPU


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _on_cpu(device: Any) -> Any:
    """`device` with every CUDA device in it replaced by the CPU; anything else unchanged."""
    if isinstance(device, torch.device):
        return CPU if device.type == "cuda" else device
    if isinstance(device, str) and device.startswith("cuda"):
        return CPU
    return device
