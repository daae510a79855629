"""Which kernels compute the model on this machine: what `kernels:` asks for, what `auto` comes to, what is missing."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from megatron_recipe.config import Config

FUSED_CAPABILITY = (9, 0)
"""quack's kernels are written for Hopper's asynchronous matrix instructions and what came after."""


@dataclass(frozen=True)
class Kernels:
    """One choice for each part that has several."""

    layer: Literal["engine", "fused"]
    attention: Literal["auto", "cudnn", "flash"]
    loss: Literal["engine", "megatron"]


def choose(config: Config, capability: tuple[int, int]) -> Kernels:
    """The kernels of a run on a card of this compute capability, where Transformer Engine is there."""
    wanted = config.kernels
    fits = (
        config.precision.fp8 == "off"
        and next(_fused_problems(config), None) is None
        and capability >= FUSED_CAPABILITY
        and find_spec("quack") is not None
    )
    return Kernels(
        layer="fused" if wanted.layer == "fused" or (wanted.layer == "auto" and fits) else "engine",
        attention=wanted.attention,
        loss="megatron" if wanted.loss == "megatron" or config.precision.dtype == "fp16" else "engine",
    )


def kernel_problems(config: Config) -> Iterator[str]:
    """A message for each rule that the configuration or this machine's packages break. Imports none of them."""
    wanted, precision = config.kernels, config.precision
    if wanted.layer == "fused":
        yield from _fused_problems(config)
        if precision.fp8 == "off" and find_spec("quack") is None:
            yield (
                "kernels.layer=fused needs the package quack-kernels, which is not installed; "
                "run pip install -e '.[gpu]', or set kernels.layer=auto"
            )
    if wanted.attention == "flash" and find_spec("flash_attn") is None:
        yield (
            "kernels.attention=flash needs the package flash-attn-4, which is not installed; "
            "run pip install -e '.[gpu]', or set kernels.attention=auto"
        )
    if wanted.loss == "engine" and precision.dtype == "fp16":
        yield (
            "kernels.loss=engine does not go with precision.dtype=fp16, which Transformer Engine's cross entropy does "
            "not read; set kernels.loss=auto"
        )


def _fused_problems(config: Config) -> Iterator[str]:
    if config.parallel.tensor > 1:
        yield (
            f"kernels.layer=fused needs whole matrices on each rank, and parallel.tensor={config.parallel.tensor}; "
            "set parallel.tensor=1, or kernels.layer=auto"
        )
    if config.precision.dtype == "fp32":
        yield "kernels.layer=fused is for 16-bit weights, and precision.dtype=fp32; set kernels.layer=auto"
