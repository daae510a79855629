"""Run a model that is larger than the memory: each part has weights only while it computes.

The model is built without memory for its weights (torch's `meta` device) and its own forward pass is run, so nothing of
its arithmetic is written a second time. Hooks fill a part just before it computes, look at what it gave, and empty it.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import Module


def stream(part: Module, fill: Callable[[], None], seen: Callable[[Tensor], None], *, keep: bool = False) -> None:
    """Let `part` be filled before it computes, its output be seen, and its weights be given back unless `keep`."""

    def before(*_: Any) -> None:
        fill()

    def after(_part: Module, _inputs: Any, output: Any) -> None:
        seen(output[0] if isinstance(output, tuple) else output)
        if not keep:
            part.to_empty(device="meta")

    part.register_forward_pre_hook(before)
    part.register_forward_hook(after)
