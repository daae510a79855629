"""The card that each rank of a run has, and the choices that follow from it."""

import os
from dataclasses import replace

import torch

from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.kernel_trial import runs_here
from megatron_recipe.plan.hardware import Hardware, hardware_for, profile, unknown_hardware
from megatron_recipe.plan.resolve import resolve


def hardware_here(as_if: str | None = None) -> Hardware | None:
    """This rank's card; None on a CPU.

    as_if: name of a card to choose for instead. Where it has less memory than the real one, no more than that may be
    used, so that a choice for a smaller card can be tried on a larger one.
    """
    if not torch.cuda.is_available():
        return profile(as_if) if as_if else None
    index = int(os.environ.get("LOCAL_RANK", "0"))
    properties = torch.cuda.get_device_properties(index)
    if as_if:
        wanted = profile(as_if)
        share = min(1.0, wanted.memory_bytes / properties.total_memory)
        torch.cuda.set_per_process_memory_fraction(share, index)
        return replace(wanted, memory_bytes=min(wanted.memory_bytes, properties.total_memory))
    capability = (properties.major, properties.minor)
    known = hardware_for(properties.name, properties.total_memory, capability)
    return known or unknown_hardware(properties.name, properties.total_memory, capability)


def choose(config: Config, vocab_size: int, world_size: int, recipe: str | None, hardware: Hardware | None) -> Config:
    """`auto` as numbers, said once. Raises ConfigError where nothing fits, or the card lacks the precision."""
    card = hardware if torch.cuda.is_available() else None
    chosen = resolve(config, vocab_size, card, world_size, recipe, has=runs_here)
    is_choice = config.batch.micro_batch_size_samples == "auto"
    if is_choice and os.environ.get("RANK", "0") == "0":
        name = hardware.card if hardware else "the CPU"
        console.say(f"for {name}: micro-batch {chosen.batch.micro_batch}, recompute {chosen.memory.recompute}")
    return chosen
