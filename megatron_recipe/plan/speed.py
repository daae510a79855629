"""Tokens a second, from a share of the card's peak (MFU) that is stated, measured or assumed."""

import math
from dataclasses import dataclass

from megatron_recipe.config import Config
from megatron_recipe.flops import flops_per_token, parameter_count
from megatron_recipe.plan.hardware import Hardware

ASSUMED_MFU = 40.0
"""% of the BF16 peak where nothing was measured: what untuned trainers of this size publish."""
ALIKE = 2.0  # a measured MFU stands for models of up to so many times its size, or that much smaller
FULL_RECOMPUTE_SHARE = 3 / 4  # a forward pass more: four parts of work where there were three


@dataclass(frozen=True)
class Mfu:
    """In % of the dense BF16 peak, attention counted in full."""

    percent: float
    origin: str
    """`stated`, `measured` or `assumed`."""


def expected_mfu(config: Config, vocab_rows: int, hardware: Hardware, recompute: str, stated: float | None) -> Mfu:
    """What a run reaches: as stated (a share, 0.5, or in %, 50), else as measured at about this size, else assumed."""
    if stated is not None:
        return Mfu(stated * 100 if stated <= 1 else stated, "stated")
    share = FULL_RECOMPUTE_SHARE if recompute == "full" else 1.0
    parameters = parameter_count(config.model, vocab_rows)
    with_fp8 = config.precision.fp8 != "off"
    distances = [
        (abs(math.log(parameters / run.parameters)), run.mfu) for run in hardware.measured if run.fp8 == with_fp8
    ]
    if distances and min(distances)[0] <= math.log(ALIKE):
        return Mfu(min(distances)[1] * share, "measured")
    return Mfu(ASSUMED_MFU * share, "assumed")


def tokens_per_second(config: Config, vocab_rows: int, hardware: Hardware, mfu: Mfu) -> float:
    """Of one GPU; several are taken to be as fast each. 0 where the card's peak is not known."""
    return mfu.percent / 100 * hardware.bf16_tflops * 1e12 / flops_per_token(config.model, vocab_rows, causal=False)
