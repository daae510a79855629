"""The configuration of a training run: one model per concern, every field with its meaning, unit and off-value.

`megatron_recipe.recipes` reads it from YAML; `megatron_recipe.validation` checks what spans several fields.
"""

from typing import Literal

from pydantic import Field

from megatron_recipe.settings import Section


class ModelConfig(Section):
    """A Llama-like decoder: RoPE, RMSNorm, SwiGLU, grouped-query attention, no biases."""

    num_layers: int = Field(gt=0)
    """Transformer layers."""
    hidden_size: int = Field(gt=0)
    """Width of the residual stream."""
    ffn_hidden_size: int = Field(gt=0)
    """Width of the SwiGLU feed-forward layer (each of gate and up)."""
    num_heads: int = Field(gt=0)
    """Query heads."""
    num_kv_groups: int = Field(gt=0)
    """Key and value heads; equal to num_heads means multi-head, 1 multi-query attention."""
    head_dim: int = Field(gt=0)
    """Width of one head; hidden_size / num_heads is usual, not required."""
    sequence_length_tokens: int = Field(gt=1)
    """Tokens of one training sample."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary position frequencies."""
    norm_epsilon: float = Field(default=1e-5, gt=0)
    """Added to the mean square in RMSNorm."""
    qk_norm: bool = False
    """RMSNorm of queries and keys in each head, against exploding attention logits."""
    tied_embeddings: bool = True
    """Share the input embedding with the output layer: saves vocabulary × hidden_size parameters."""
    init_std: float = Field(default=0.02, gt=0)
    """Standard deviation of the initial weights; output projections use it divided by sqrt(2 × num_layers)."""
    vocab_multiple_of: int = Field(default=128, gt=0)
    """The vocabulary is padded to a multiple of this, so that matrix products stay aligned and tensor parallelism
    divides it; not dependent on the layout, so that checkpoints move between layouts."""


class DatasetWeight(Section):
    """One dataset of the mix."""

    path: str
    """Folder made by `megatron-recipe data prepare`."""
    weight: float = Field(default=1.0, gt=0)
    """Share of the training samples, relative to the other weights."""


class DataConfig(Section):
    """What is trained on."""

    datasets: list[DatasetWeight] = Field(min_length=1)
    """The mix. All its datasets share one tokenizer."""
    seed: int = 1234
    """Seed of the sample order."""
    num_workers: int = Field(default=2, ge=0)
    """Processes that read ahead for each rank; 0 reads in the training process."""


class BatchConfig(Section):
    """How many samples make a step."""

    global_batch_size_samples: int = Field(gt=0)
    """Samples of one optimizer step, over all ranks."""
    micro_batch_size_samples: int = Field(gt=0)
    """Samples that one rank computes at a time; the rest is gradient accumulation."""


class OptimizerConfig(Section):
    """AdamW with decoupled weight decay; norms and biases are not decayed."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the gradient's running mean."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the squared gradient's running mean."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the denominator of the update."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled weight decay, multiplied by the learning rate; 0 is off."""
    clip_grad_norm: float = Field(default=1.0, ge=0)
    """Largest global gradient norm; 0 does not clip."""


class ScheduleConfig(Section):
    """Learning rate over the run, in shares of `train.steps`."""

    peak_learning_rate: float = Field(gt=0)
    """Highest learning rate, reached at the end of the warm-up."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Learning rate at the last step."""
    warmup_fraction: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps over which the rate rises linearly from 0; 0 is no warm-up."""
    decay: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    """Shape after the warm-up; `wsd` keeps the peak until the last `wsd_decay_fraction` of the steps."""
    wsd_decay_fraction: float = Field(default=0.2, gt=0, le=1)
    """Share of the steps at the end in which `wsd` decays; other shapes don't read it."""


class TrainConfig(Section):
    """How long, and how often to look."""

    steps: int = Field(gt=0)
    """Optimizer steps of the whole run; the schedule and the sample order are laid out for it."""
    stop_at_step: int = Field(default=0, ge=0)
    """Stop with a checkpoint after this step, keeping the schedule of the whole run; 0 runs to the end."""
    seed: int = 1234
    """Seed of the initial weights."""
    log_every_steps: int = Field(default=10, gt=0)
    """Steps between console lines and metrics records."""
    validate_every_steps: int = Field(default=500, ge=0)
    """Steps between validation losses; 0 validates only at the end."""
    validation_samples: int = Field(default=512, ge=0)
    """Samples of one validation, always the same ones, at most what the split holds; 0 does not validate."""


class ParallelConfig(Section):
    """How the model is spread over ranks; what remains of the ranks is data parallel."""

    tensor: int = Field(default=1, gt=0)
    """Ranks that share each matrix."""
    pipeline: int = Field(default=1, gt=0)
    """Ranks that share the layers, one stage after the other."""
    virtual_stages: int = Field(default=1, gt=0)
    """Pieces of each pipeline stage, interleaved; 1 is off."""
    context: int = Field(default=1, gt=0)
    """Ranks that share each sequence; needs Transformer Engine."""
    sequence_parallel: bool = False
    """Also split norms and residuals along the sequence among the tensor-parallel ranks."""
    distributed_optimizer: bool = True
    """Split the optimizer states among the data-parallel ranks (ZeRO 1)."""
    timeout_seconds: int = Field(default=600, gt=0)
    """How long a rank waits for the others before the run is given up as hung."""


class PrecisionConfig(Section):
    """Arithmetic of the training step."""

    dtype: Literal["fp32", "bf16"] = "bf16"
    """Weights and activations; gradients are summed and states kept in FP32 either way."""


class CheckpointConfig(Section):
    """What is kept of a run."""

    save_every_steps: int = Field(default=500, ge=0)
    """Steps between checkpoints; 0 saves only at the end. The last step is always saved."""
    keep_last: int = Field(default=3, gt=0)
    """Newest checkpoints that are kept."""


class LoggingConfig(Section):
    """Where the numbers go besides the console and metrics.jsonl."""

    tensorboard: bool = True
    """Write TensorBoard event files below the run folder."""


class Config(Section):
    """All that defines a run; the resolved file in the run folder repeats it."""

    model: ModelConfig
    data: DataConfig
    batch: BatchConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig
    train: TrainConfig
    parallel: ParallelConfig = ParallelConfig()
    precision: PrecisionConfig = PrecisionConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    logging: LoggingConfig = LoggingConfig()
