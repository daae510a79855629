"""Which kernels compute the model on this machine: what `kernels:` asks for, what `auto` comes to, what is missing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import Literal

from megatron_recipe.config import Config

HOPPER = (9, 0)
"""quack's and FlashAttention-4's kernels are written for its asynchronous matrix instructions and what came after."""

QUACK, FLASH_ATTENTION = "quack-kernels", "flash-attn-4"

Part = Literal["layer", "attention", "loss"]
PACKAGES: dict[Part, str] = {"layer": QUACK, "attention": FLASH_ATTENTION, "loss": QUACK}
"""Whose kernels are the fast ones of each part, in BF16."""


@dataclass(frozen=True)
class Kernels:
    """One choice for each part that has several."""

    layer: Literal["engine", "fused"]
    attention: Literal["auto", "cudnn", "flash"]
    loss: Literal["fused", "engine", "megatron"]


def is_installed(package: str) -> bool:
    """By its distribution: an older FlashAttention has a module of the same name."""
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def has_package(part: Part, _config: Config) -> bool:
    """Whether the package of a part's fast kernels is there."""
    return is_installed(PACKAGES[part])


Has = Callable[[Part, Config], bool]
"""Whether the fast kernels of a part can be used for a configuration."""


def choose(config: Config, capability: tuple[int, int], has: Has = has_package) -> Kernels:
    """The kernels of a run on a card of this compute capability, where Transformer Engine is there.

    has: asked only where `auto` would take them.
    """
    wanted = config.kernels
    is_hopper = capability >= HOPPER
    fuses = wanted.layer == "auto" and is_hopper and next(_fused_problems(config), None) is None
    # FP8's fusions are Transformer Engine's own
    fuses = fuses and (config.precision.fp8 != "off" or has("layer", config))
    attends = wanted.attention == "auto" and is_hopper and next(_flash_problems(config), None) is None
    return Kernels(
        layer="fused" if wanted.layer == "fused" or fuses else "engine",
        attention="flash" if attends and has("attention", config) else wanted.attention,
        loss=_loss(config, is_hopper, has),
    )


def _loss(config: Config, is_hopper: bool, has: Has) -> Literal["fused", "engine", "megatron"]:
    """Cross entropy in one pass where it can be, else Transformer Engine's, else Megatron's."""
    if config.kernels.loss != "auto":
        return config.kernels.loss
    if is_hopper and next(_one_pass_problems(config), None) is None and has("loss", config):
        return "fused"
    return "megatron" if config.precision.dtype == "fp16" else "engine"


def planned(config: Config, capability: tuple[int, int], has: Has = has_package) -> Config:
    """The configuration with the layer and the loss that a run on such a card will have, for estimates.

    On a machine without Transformer Engine the plan is for another one, where all packages are taken to be there.
    has: as for `choose`.
    """
    is_here = find_spec("transformer_engine") is not None
    chosen = choose(config, capability, has if is_here else lambda part, config: True)
    return config.model_copy(
        update={"kernels": config.kernels.model_copy(update={"layer": chosen.layer, "loss": chosen.loss})}
    )


def kernel_problems(config: Config) -> Iterator[str]:
    """A message for each rule that the configuration or this machine's packages break. Imports none of them."""
    wanted, precision = config.kernels, config.precision
    if wanted.layer == "fused":
        yield from _fused_problems(config)
        if precision.fp8 == "off" and not is_installed(QUACK):
            yield (
                "kernels.layer=fused needs the package quack-kernels, which is not installed; "
                "run pip install -e '.[gpu]', or set kernels.layer=auto"
            )
    if wanted.attention == "flash":
        yield from _flash_problems(config)
    if wanted.attention == "flash" and not is_installed(FLASH_ATTENTION):
        yield (
            "kernels.attention=flash needs the package flash-attn-4, which is not installed; "
            "run pip install -e '.[gpu]', or set kernels.attention=auto"
        )
    if wanted.loss == "fused":
        yield from _one_pass_problems(config)
        if not is_installed(QUACK):
            yield (
                "kernels.loss=fused needs the package quack-kernels, which is not installed; "
                "run pip install -e '.[gpu]', or set kernels.loss=auto"
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


def _one_pass_problems(config: Config) -> Iterator[str]:
    if config.parallel.tensor > 1:
        yield (
            "kernels.loss=fused needs whole rows of logits on each rank, and "
            f"parallel.tensor={config.parallel.tensor}; set parallel.tensor=1, or kernels.loss=auto"
        )
    if config.precision.dtype != "bf16":
        yield (
            f"kernels.loss=fused is for BF16 logits, and precision.dtype={config.precision.dtype}; "
            "set kernels.loss=auto"
        )


def _flash_problems(config: Config) -> Iterator[str]:
    if config.precision.dtype == "fp32":
        yield "kernels.attention=flash is for 16-bit values, and precision.dtype=fp32; set kernels.attention=auto"
    if config.parallel.context > 1:
        yield (
            f"kernels.attention=flash needs whole sequences on each rank, and parallel.context="
            f"{config.parallel.context}; set parallel.context=1, or kernels.attention=auto"
        )
