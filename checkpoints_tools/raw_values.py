"""A tensor's memory as bytes, to be read from files and written to them without a copy."""

from typing import IO

import torch
from torch import Tensor


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU; writing to it changes the tensor."""
    return memoryview(tensor.view(-1).view(torch.uint8).numpy())


def fill(file: IO[bytes], tensor: Tensor) -> memoryview:
    """Read a contiguous tensor's values from where an unbuffered file stands. Returns its memory.

    Raises EOFError where the file ends before the tensor is full.
    """
    view = bytes_of(tensor)
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]  # an unbuffered file has it
        if not count:
            raise EOFError("the file ends too early")
        done += count
    return view
