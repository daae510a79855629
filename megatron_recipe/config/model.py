"""The network."""

from pydantic import Field

from megatron_recipe.settings import Section


class RopeScalingConfig(Section):
    """Llama 3's scaling of the rotary frequencies, by which a model trained on short texts reads longer ones.

    Frequencies that turn less than `low_frequency_factor` times in `original_length_tokens` are divided by `factor`,
    those that turn more than `high_frequency_factor` times stay, and between the two it goes over smoothly.
    """

    factor: float = Field(default=1.0, ge=1)
    """What slow frequencies are divided by; 1 is off, and the other fields are then not read."""
    low_frequency_factor: float = Field(default=1.0, gt=0)
    """Turns in the original length below which a frequency is slow."""
    high_frequency_factor: float = Field(default=4.0, gt=0)
    """Turns in the original length above which a frequency stays as it is."""
    original_length_tokens: int = Field(default=8192, gt=0)
    """Length of the texts before the extension."""


class ModelConfig(Section):
    """A Llama-like decoder: RoPE, RMSNorm, SwiGLU, grouped-query attention."""

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
    rope_scaling: RopeScalingConfig = RopeScalingConfig()
    norm_epsilon: float = Field(default=1e-5, gt=0)
    """Added to the mean square in RMSNorm."""
    qk_norm: bool = False
    """RMSNorm of queries and keys in each head, against exploding attention logits."""
    qkv_bias: bool = False
    """Add a bias to queries, keys and values, as Qwen 2 does; the other matrices have none. Not with `qk_norm`."""
    tied_embeddings: bool = True
    """Share the input embedding with the output layer: saves vocabulary × hidden_size parameters."""
    init_std: float = Field(default=0.02, gt=0)
    """Standard deviation of the initial weights; output projections use it divided by sqrt(2 × num_layers)."""
    vocab_size: int | None = Field(default=None, gt=0)
    """Ids that the model has; null takes the tokenizer's number. For a model that has more than its tokenizer, as some
    of Hugging Face do."""
    vocab_multiple_of: int = Field(default=128, gt=0)
    """The vocabulary is padded to a multiple of this, so that matrix products stay aligned and tensor parallelism
    divides it; not dependent on the layout, so that checkpoints move between layouts."""
