"""An untrained Hugging Face model with its tokenizer, made once for all tests of this folder."""

from pathlib import Path

import pytest
import torch

LENGTH = 32


@pytest.fixture(scope="session")
def model_dir(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with sequence length LENGTH and random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from checkpoints_tools.hf_tokenizer import convert_tokenizer

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=500,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=1,
        initializer_range=0.5,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    convert_tokenizer(dataset / "tokenizer/tokenizer.model", folder, eod_id=1, max_length=LENGTH)
    return folder
