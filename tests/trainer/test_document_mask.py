"""Masking between documents: a document's losses don't depend on the one before it in the sample, and else they do."""

import pytest
import torch
from torch import Tensor

from megatron_recipe import document_mask
from megatron_recipe.config import Config
from megatron_recipe.data import Batch, collate
from megatron_recipe.document_mask import block_causal_mask, lay_end_to_end, schedule_shape
from megatron_recipe.forward_step import forward_step
from megatron_recipe.model import build_gpt
from megatron_recipe.recipes import load_config

LENGTH, FIRST, VOCABULARY = 24, 10, 64


@pytest.fixture
def config() -> Config:
    return load_config(
        "gpt_tiny_cpu",
        (
            "model.num_layers=2",
            "model.hidden_size=32",
            "model.ffn_hidden_size=48",
            "model.num_heads=2",
            "model.num_kv_groups=1",
            "model.head_dim=16",
            f"model.sequence_length_tokens={LENGTH}",
            "model.init_std=0.3",
        ),
    )


def sample(tokens: Tensor, *begins: int) -> dict[str, Tensor]:
    """What a corpus gives: documents begin at `begins`; without any, the masking is off."""
    length = tokens.numel() - 1
    values = {
        "tokens": tokens[:-1],
        "labels": tokens[1:],
        "loss_mask": torch.ones(length),
        "position_ids": torch.arange(length),
    }
    if begins:
        ends = torch.full((length + 1,), length, dtype=torch.int32)
        ends[: len(begins)] = torch.tensor(begins)
        values["cu_seqlens"] = ends
    return values


def tokens(seed: int, count: int = LENGTH + 1) -> Tensor:
    return torch.randint(VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed))


def losses(model: torch.nn.Module, *samples: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return forward_step(iter([collate(list(samples))]), model)[0]


@pytest.fixture
def model(megatron_groups: None, config: Config) -> torch.nn.Module:
    return build_gpt(config, VOCABULARY)


def test_with_masking_the_first_document_does_not_change_the_second(model):
    """In the second sample of a micro-batch, whose first sample has other boundaries."""
    other = sample(tokens(3), 0, 5, 11)
    text, changed = tokens(1), tokens(1)
    changed[:FIRST] = tokens(2)[:FIRST]
    before, after = (losses(model, other, sample(one, 0, FIRST)) for one in (text, changed))
    assert torch.equal(before[1, FIRST:], after[1, FIRST:])
    assert not torch.allclose(before[1, :FIRST], after[1, :FIRST])
    assert torch.equal(before[0], after[0])


def test_without_masking_it_does(model):
    text, changed = tokens(1), tokens(1)
    changed[:FIRST] = tokens(2)[:FIRST]
    before, after = (losses(model, sample(one)) for one in (text, changed))
    assert (before[0, FIRST:] - after[0, FIRST:]).abs().min() > 1e-4


def test_a_masked_document_has_the_losses_of_one_that_stands_alone(model):
    """Also that positions running on change nothing: alone, the second document begins at position 0."""
    text = tokens(1)
    together = losses(model, sample(text, 0, FIRST))[0]
    alone = torch.cat([losses(model, sample(part))[0] for part in (text[: FIRST + 1], text[FIRST:])])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert not torch.allclose(together, losses(model, sample(text))[0], atol=1e-3)


def two_samples() -> Batch:
    return collate([sample(tokens(1, 7), 0, 2), sample(tokens(2, 7), 0, 1, 5)])


def test_a_batch_says_where_documents_begin_end_to_end():
    assert two_samples()["cu_seqlens"].tolist() == [0, 2, 6, 7, 11, 12]
    assert two_samples()["cu_seqlens"].dtype == torch.int32
    assert collate([sample(tokens(1, 7), 0)])["cu_seqlens"].tolist() == [0, 6]
    assert "cu_seqlens" not in collate([sample(tokens(1, 7))])


def test_the_mask_lets_a_token_see_its_own_document_up_to_itself():
    documents = [[0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 2]]
    expected = [
        [[key > query or numbers[key] != numbers[query] for key in range(6)] for query in range(6)]
        for numbers in documents
    ]
    assert block_causal_mask(two_samples()).tolist() == [[mask] for mask in expected]


def test_transformer_engine_gets_the_micro_batch_as_one_row():
    batch = two_samples()
    row, documents = lay_end_to_end(batch)
    assert {name: tuple(tensor.shape) for name, tensor in row.items()} == dict.fromkeys(
        ("tokens", "labels", "loss_mask", "position_ids"), (1, 12)
    )
    assert row["tokens"][0].tolist() == batch["tokens"].flatten().tolist()
    assert documents.qkv_format == "thd"
    assert documents.cu_seqlens_q.tolist() == documents.cu_seqlens_kv.tolist() == [0, 2, 6, 7, 11, 12]
    assert documents.max_seqlen_q == documents.max_seqlen_kv == 6


def test_pipeline_stages_send_what_the_layers_make(config, monkeypatch):
    assert schedule_shape(config) == {"seq_length": LENGTH, "micro_batch_size": 8}
    masked = config.model_copy(update={"data": config.data.model_copy(update={"mask_between_documents": True})})
    monkeypatch.setattr(document_mask, "transformer_engine_is_there", lambda: False)
    assert schedule_shape(masked) == {"seq_length": LENGTH, "micro_batch_size": 8}
    monkeypatch.setattr(document_mask, "transformer_engine_is_there", lambda: True)
    assert schedule_shape(masked) == {"seq_length": 8 * LENGTH, "micro_batch_size": 1}
