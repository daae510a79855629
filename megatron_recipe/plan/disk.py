"""What a run takes on disk: text, tokens, checkpoints."""

from dataclasses import dataclass

from megatron_recipe.config import Config
from megatron_recipe.flops import padded_vocab_size, parameter_count
from megatron_recipe.plan.layer_memory import value_bytes

# Of English web text with a vocabulary of 32,000; Chinese takes about 3.6 bytes a token, code about 3.
BYTES_OF_TEXT_PER_TOKEN = 4.2
SMALL_VOCABULARY = 65_536  # ids of two bytes
OPTIMIZER_BYTES = {"adamw": 8, "sgd": 4, "muon": 8}  # of a parameter, at the most
MASTER_BYTES = 4
ROUNDED_BYTES = 2 + 2 + 2  # optimizer.states=bf16: both means, and half a master weight


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


def estimate_disk(config: Config, vocab_size: int, tokens: float) -> Disk:
    """For a run over `tokens`."""
    parameters = parameter_count(config.model, padded_vocab_size(vocab_size, config.model))
    weights = parameters * value_bytes(config)
    # FP32 weights are their own masters, but the distributed optimizer saves them a second time
    whole = MASTER_BYTES + OPTIMIZER_BYTES[config.optimizer.kind]
    states = parameters * (whole if config.optimizer.states == "fp32" else ROUNDED_BYTES)
    kept = config.checkpoint
    best = int(kept.keep_best)
    milestones = config.train.steps // kept.milestone_every_steps if kept.milestone_every_steps else 0
    milestone = weights if kept.milestone_weights_only else weights + states
    return Disk(
        text=round(tokens * BYTES_OF_TEXT_PER_TOKEN),
        tokens=round(tokens * (2 if vocab_size <= SMALL_VOCABULARY else 4)),
        checkpoint=weights + states,
        checkpoints=(kept.keep_last + best + 1) * (weights + states) + milestones * milestone,
    )
