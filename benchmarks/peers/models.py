"""The peers' models in a recipe's shape. Each maps tokens [batch, length] to logits [batch, length, vocabulary]."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from megatron_recipe.config import ModelConfig


class TransformersLlama(nn.Module):
    """Hugging Face's Llama, which wraps its logits in an output object."""

    def __init__(self, shape: ModelConfig, vocab_rows: int) -> None:
        super().__init__()
        from transformers import LlamaConfig, LlamaForCausalLM

        self.llama = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocab_rows,
                hidden_size=shape.hidden_size,
                intermediate_size=shape.ffn_hidden_size,
                num_hidden_layers=shape.num_layers,
                num_attention_heads=shape.num_heads,
                num_key_value_heads=shape.num_kv_groups,
                head_dim=shape.head_dim,
                max_position_embeddings=shape.sequence_length_tokens,
                rms_norm_eps=shape.norm_epsilon,
                rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
                tie_word_embeddings=shape.tied_embeddings,
                use_cache=False,
                attn_implementation="sdpa",
            )
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits: torch.Tensor = self.llama(input_ids=tokens).logits
        return logits


def transformers_llama(shape: ModelConfig, vocab_rows: int) -> tuple[nn.Module, list[nn.Module]]:
    """The model and its blocks."""
    model = TransformersLlama(shape, vocab_rows)
    return model, list(model.llama.model.layers)


def litgpt_gpt(shape: ModelConfig, vocab_rows: int) -> tuple[nn.Module, list[nn.Module]]:
    """The model and its blocks."""
    from litgpt.config import Config
    from litgpt.model import GPT

    model: Any = GPT(
        Config(
            block_size=shape.sequence_length_tokens,
            n_layer=shape.num_layers,
            n_embd=shape.hidden_size,
            vocab_size=vocab_rows,
            padded_vocab_size=vocab_rows,
            n_head=shape.num_heads,
            head_size=shape.head_dim,
            n_query_groups=shape.num_kv_groups,
            intermediate_size=shape.ffn_hidden_size,
            norm_class_name="RMSNorm",
            norm_eps=shape.norm_epsilon,
            mlp_class_name="LLaMAMLP",
            bias=False,
            parallel_residual=False,
            rotary_percentage=1.0,
            rope_base=int(shape.rope_theta),
        )
    )
    model.apply(model._init_weights)
    if shape.tied_embeddings:  # as its own pretraining ties them
        model.transformer.wte.weight = model.lm_head.weight
    return model, list(model.transformer.h)


def torchtitan_llama(shape: ModelConfig, vocab_rows: int) -> tuple[nn.Module, list[nn.Module]]:
    """The model and its blocks."""
    from torchtitan.models.llama3.model.args import TransformerModelArgs
    from torchtitan.models.llama3.model.model import Transformer

    # its width of the feed-forward is a share of 8/3 of the model's, rounded up to `multiple_of`
    share = shape.ffn_hidden_size / (8 * shape.hidden_size / 3) / 2
    model: Any = Transformer(
        TransformerModelArgs(
            dim=shape.hidden_size,
            n_layers=shape.num_layers,
            n_heads=shape.num_heads,
            n_kv_heads=shape.num_kv_groups,
            vocab_size=vocab_rows,
            multiple_of=shape.ffn_hidden_size,
            ffn_dim_multiplier=share,
            norm_eps=shape.norm_epsilon,
            rope_theta=shape.rope_theta,
            max_seq_len=shape.sequence_length_tokens,
        )
    )
    with torch.no_grad():
        model.init_weights()
    if shape.tied_embeddings:
        nn.init.normal_(model.output.weight, std=shape.init_std)
        model.tok_embeddings.weight = model.output.weight
    return model, list(model.layers.values())


@dataclass(frozen=True)
class Peer:
    """A model and how it is trained."""

    build: Callable[[ModelConfig, int], tuple[nn.Module, list[nn.Module]]]
    compiled: str
    """`whole`: model and loss as one function. `blocks`: each block, and the loss."""
    package: str
    bf16_weights: bool = False


PEERS = {
    "transformers": Peer(transformers_llama, "blocks", "transformers"),
    "transformers-whole": Peer(transformers_llama, "whole", "transformers"),
    "litgpt-mixed": Peer(litgpt_gpt, "whole", "litgpt"),
    "litgpt-bf16": Peer(litgpt_gpt, "whole", "litgpt", bf16_weights=True),
    "torchtitan": Peer(torchtitan_llama, "blocks", "torchtitan"),
}
