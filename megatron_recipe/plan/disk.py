"""What a run takes on disk: text, tokens, checkpoints."""

from dataclasses import dataclass

from megatron_recipe.config import Config
from megatron_recipe.flops import padded_vocab_size, parameter_count
from megatron_recipe.plan.layer_memory import value_bytes
from megatron_recipe.plan.memory import data_ranks

# Of English web text with a vocabulary of 32,000; Chinese takes about 3.6 bytes a token, code about 3.
BYTES_OF_TEXT_PER_TOKEN = 4.2
SMALL_VOCABULARY = 65_536  # ids of two bytes
OPTIMIZER_BYTES = {"adamw": 8, "sgd": 4, "muon": 8}  # of a parameter, at the most
MASTER_BYTES = 4
# optimizer.states=bf16: both means, and half a master weight; as they are by a rank that has them alone
# (direct_optimizer_state.py). Megatron gathers those of several ranks in FP32.
ROUNDED_BYTES = 2 + 2 + 2


@dataclass(frozen=True)
class Disk:
    """Bytes."""

    text: int
    """Raw text of the run's tokens, if none is seen twice; uncompressed."""
    tokens: int
    checkpoint: int
    """One that a run continues from."""
    checkpoints: int
    """All that are kept at once, with the one that is being written."""

    @property
    def total(self) -> int:
        """Text, tokens and all kept checkpoints."""
        return self.text + self.tokens + self.checkpoints


def checkpoint_bytes(config: Config, vocab_size: int, world_size: int, *, weights_only: bool = False) -> int:
    """Size of a checkpoint of a run with so many processes: the weights, and the optimizer's states."""
    parameters = parameter_count(config.model, padded_vocab_size(vocab_size, config.model))
    weights = parameters * value_bytes(config)
    if weights_only:
        return weights
    is_alone = data_ranks(config, world_size) * config.parallel.context == 1
    # FP32 weights are their own masters, but the distributed optimizer saves them a second time
    whole = MASTER_BYTES + OPTIMIZER_BYTES[config.optimizer.kind]
    return weights + parameters * (ROUNDED_BYTES if config.optimizer.states == "bf16" and is_alone else whole)


def estimate_disk(config: Config, vocab_size: int, world_size: int, tokens: float) -> Disk:
    """For a run over `tokens`, with so many processes."""
    whole = checkpoint_bytes(config, vocab_size, world_size)
    weights = checkpoint_bytes(config, vocab_size, world_size, weights_only=True)
    kept = config.checkpoint
    best = int(kept.keep_best)
    milestones = config.train.steps // kept.milestone_every_steps if kept.milestone_every_steps else 0
    milestone = weights if kept.milestone_weights_only else whole
    return Disk(
        text=round(tokens * BYTES_OF_TEXT_PER_TOKEN),
        tokens=round(tokens * (2 if vocab_size <= SMALL_VOCABULARY else 4)),
        checkpoint=whole,
        checkpoints=(kept.keep_last + best + 1) * whole + milestones * milestone,
    )
