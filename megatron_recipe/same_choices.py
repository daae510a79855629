"""What each rank has chosen for its card must be one choice: weights and gradients are exchanged by their order alone.

A rank on which a fast kernel fails takes another one, and orders its weights differently; one whose card is smaller
takes another micro-batch. Neither would end in an error by itself.
"""

from collections.abc import Sequence
from dataclasses import asdict

from megatron_recipe.agreement import all_ranks
from megatron_recipe.config import Config
from megatron_recipe.errors import MachineError
from megatron_recipe.model import chosen_kernels

Choices = dict[str, object]


def require_same_choices(config: Config) -> None:
    """All ranks call it. Raises MachineError where two have chosen differently, on all of them."""
    kernels = chosen_kernels(config)
    mine: Choices = {f"kernels.{name}": value for name, value in asdict(kernels).items()} if kernels else {}
    mine["batch.micro_batch_size_samples"] = config.batch.micro_batch
    mine["memory.recompute"] = config.memory.recompute
    if problem := difference(all_ranks(mine)):
        raise MachineError(problem)


def difference(choices: Sequence[Choices]) -> str | None:
    """Where a rank departs from the first one, in words; None where none does."""
    for rank, choice in enumerate(choices):
        for name in {**choices[0], **choice}:
            first, other = choices[0].get(name), choice.get(name)
            if first != other:
                return (
                    f"rank 0 has chosen {name}={first} and rank {rank} {name}={other}, and all must train alike: their "
                    f"cards or packages differ (megatron-recipe doctor on each machine says how); set {name} itself"
                )
    return None
