"""Batch, optimizer, learning rate, length."""

from typing import Literal

from pydantic import Field

from megatron_recipe.settings import Section


class BatchConfig(Section):
    """How many samples make a step."""

    global_batch_size_samples: int = Field(gt=0)
    """Samples of one optimizer step, over all ranks."""
    micro_batch_size_samples: int | Literal["auto"] = "auto"
    """Samples that one rank computes at a time; the rest is gradient accumulation. `auto` takes the largest that fits
    the card's memory; the numbers of the run don't depend on it beyond rounding."""
    ramp_up_from_samples: int = Field(default=0, ge=0)
    """Global batch of the first step, raised in equal stretches to the full one; 0 is no ramp-up."""
    ramp_up_increment_samples: int = Field(default=0, ge=0)
    """Samples added at each rise; read only with a ramp-up."""
    ramp_up_steps: int = Field(default=0, ge=0)
    """Steps over which the batch rises; read only with a ramp-up."""

    @property
    def micro_batch(self) -> int:
        """The micro-batch as a number: a run has chosen one before it builds anything."""
        assert self.micro_batch_size_samples != "auto", "the micro-batch was not chosen yet"
        return self.micro_batch_size_samples


class OptimizerConfig(Section):
    """Which optimizer, and its constants; weight decay is decoupled and leaves out norms and biases."""

    kind: Literal["adamw", "sgd", "muon"] = "adamw"
    """`adamw`: TE's, apex's or torch's kernel, whichever is there. `sgd`: with momentum. `muon`: orthogonalised
    momentum for the matrices and AdamW for the rest; needs the package emerging-optimizers. These two go with
    parallel.distributed_optimizer=false alone."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the gradient's running mean (adamw, and muon's other weights)."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the squared gradient's running mean (adamw, and muon's other weights)."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the denominator of the update (adamw, and muon's other weights)."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Momentum of sgd, and of muon's matrices."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled weight decay, multiplied by the learning rate; 0 is off."""
    clip_grad_norm: float = Field(default=1.0, ge=0)
    """Largest global gradient norm; 0 does not clip."""
    states: Literal["fp32", "bf16"] = "fp32"
    """Type of the running means (adamw). `bf16` also keeps of each FP32 master weight only the half that its BF16 copy
    lacks: 6 bytes a parameter instead of 12. Needs Transformer Engine."""


class ScheduleConfig(Section):
    """Learning rate over the run, in shares of its samples (of its budget where there is one)."""

    peak_learning_rate: float = Field(gt=0)
    """Highest learning rate, reached at the end of the warm-up."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Learning rate at the last step."""
    warmup_fraction: float = Field(default=0.02, ge=0, lt=1)
    """Share of the run over which the rate rises linearly from 0; 0 is no warm-up."""
    decay: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    """Shape after the warm-up; `wsd` keeps the peak until the last `wsd_decay_fraction` of the run."""
    wsd_decay_fraction: float = Field(default=0.2, gt=0, le=1)
    """Share of the run at its end in which `wsd` decays; other shapes don't read it."""
    wsd_decay_shape: Literal["linear", "cosine", "minus_sqrt"] = "linear"
    """Curve of that decay; `minus_sqrt` is 1 - sqrt (Hägele et al., arXiv:2405.18392)."""


class TrainConfig(Section):
    """How long, and how often to look."""

    steps: int = Field(gt=0)
    """Optimizer steps of the whole run; the schedule is laid out for it. A budget takes its place."""
    stop_at_step: int = Field(default=0, ge=0)
    """Stop with a checkpoint after this step, keeping the schedule of the whole run; 0 runs to the end."""
    time_limit_seconds: int = Field(default=0, ge=0)
    """Stop with a checkpoint when this process has run so long (`train --time-limit 23h30m`); 0 is no limit."""
    init_from: str | None = None
    """Begin with the weights of a checkpoint: a folder of `convert from-hf`, a run (its newest checkpoint) or one
    checkpoint folder. Steps, schedule and optimizer states begin anew. Read only where the run has no checkpoint of its
    own yet; null begins with random weights."""
    seed: int = Field(default=1234, ge=0, lt=2**31)
    """Seed of the initial weights."""
    log_every_steps: int = Field(default=10, gt=0)
    """Steps between console lines and metrics records."""
    validate_every_steps: int = Field(default=500, ge=0)
    """Steps between validation losses; 0 validates only at the end."""
    validation_samples: int = Field(default=512, ge=0)
    """Samples of one validation, always the same ones, at most what the split holds; 0 does not validate."""


class BudgetConfig(Section):
    """What the run may cost, and what its machine costs."""

    amount: float = Field(default=0.0, ge=0)
    """What may be spent, in `unit` (`train --budget 3000cny`); 0 is no budget. The run then ends, fully decayed, when
    it is spent, whatever its speed was."""
    unit: Literal["cny", "usd", "hours", "seconds", "tokens"] = "cny"
    """Unit of `amount`."""
    price_per_hour: float = Field(default=0.0, ge=0)
    """Price of the whole machine, all its GPUs, in `currency` (`train --price 5/h`); 0 is not known, and costs are then
    not shown."""
    currency: Literal["cny", "usd"] = "cny"
    """Of the price; a budget in money has the same."""
    at_end: Literal["nothing", "stop", "terminate"] = "nothing"
    """What becomes of this machine when the run has come to its end, or its budget is spent; never after a mistake, a
    crash or Ctrl-C. `stop` shuts it down, and its disk stays and is paid for. `terminate` deletes it with its disk;
    network volumes stay. By the platform's own way (RunPod, AutoDL), or `shut_down_command`."""
    shut_down_command: str = ""
    """What shuts this machine down, run by a shell; empty takes the platform's own way."""
    shut_down_after_seconds: float = Field(default=60.0, ge=0)
    """Grace period before it, with a warning; a file `stay_up` in the run folder keeps the machine up."""
