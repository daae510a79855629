"""Parameters of a model by part, whole and on one rank."""

from dataclasses import dataclass

from megatron_recipe.config import Config, ModelConfig


@dataclass(frozen=True)
class Parameters:
    """Numbers of weights by part."""

    embedding: int
    attention: int
    feed_forward: int
    norms: int
    """With the biases of queries, keys and values, where there are some: as little, and without weight decay too."""
    output: int
    """The output layer's own; 0 where it shares the embedding."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.layers_matrices + self.norms + self.output

    @property
    def layers_matrices(self) -> int:
        """Those of the layers' matrix products: what FP8 keeps copies of."""
        return self.attention + self.feed_forward


def count_parameters(model: ModelConfig, vocab_rows: int) -> Parameters:
    """The whole model's. `vocab_rows`: the padded vocabulary."""
    return Parameters(
        embedding=vocab_rows * model.hidden_size,
        attention=model.num_layers * attention_weights(model),
        feed_forward=model.num_layers * feed_forward_weights(model),
        norms=model.num_layers * (norm_weights(model) + bias_weights(model)) + model.hidden_size,
        output=0 if model.tied_embeddings else vocab_rows * model.hidden_size,
    )


def count_on_rank(config: Config, vocab_rows: int, stage: int) -> Parameters:
    """Those that one rank of a pipeline stage holds, after tensor and pipeline parallelism.

    The last of several stages holds the output layer, also where it is tied: Megatron keeps a copy of the embedding
    there and adds the two gradients.
    """
    model, layout = config.model, config.parallel
    layers = model.num_layers // layout.pipeline
    first, last = stage == 0, stage == layout.pipeline - 1
    table = vocab_rows * model.hidden_size // layout.tensor
    has_own_output = last and (not model.tied_embeddings or not first)
    return Parameters(
        embedding=table if first else 0,
        attention=layers * attention_weights(model) // layout.tensor,
        feed_forward=layers * feed_forward_weights(model) // layout.tensor,
        norms=layers * (norm_weights(model) + bias_weights(model) // layout.tensor)
        + (model.hidden_size if last else 0),
        output=table if has_own_output else 0,
    )


def attention_weights(model: ModelConfig) -> int:
    """Of one layer: queries, keys, values and the output projection."""
    return model.hidden_size * model.head_dim * (2 * model.num_heads + 2 * model.num_kv_groups)


def feed_forward_weights(model: ModelConfig) -> int:
    """Of one layer: gate, up and down."""
    return 3 * model.hidden_size * model.ffn_hidden_size


def norm_weights(model: ModelConfig) -> int:
    """Of one layer: two norms, and those of queries and keys where they are normed."""
    return 2 * model.hidden_size + (2 * model.head_dim if model.qk_norm else 0)


def bias_weights(model: ModelConfig) -> int:
    """Of one layer: a number for each row of queries, keys and values, where they have biases."""
    return model.head_dim * (model.num_heads + 2 * model.num_kv_groups) if model.qkv_bias else 0
