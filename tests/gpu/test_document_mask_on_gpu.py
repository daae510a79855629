"""On a GPU: masked documents have the losses of documents that stand alone, through Transformer Engine's `thd`."""

import pytest
import torch
from torch import Tensor

from megatron_recipe.config import Config
from megatron_recipe.data import collate
from megatron_recipe.forward_step import forward_step
from megatron_recipe.model import build_gpt, build_model, transformer_engine_is_there
from megatron_recipe.parallel import process_groups
from megatron_recipe.recipes import load_config

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or not transformer_engine_is_there(), reason="needs a GPU and Transformer Engine"
)

LENGTH, VOCABULARY = 256, 512
BEGINS = ((0, 100, 164), (0, 31), (0,))
BF16_NOISE = 0.2  # of single losses around 7 nats; a token that saw the document before its own differs by up to 5


@pytest.fixture
def config() -> Config:
    return load_config(
        "gpt_tiny_cpu",
        (
            "model.num_layers=2",
            "model.head_dim=64",
            f"model.sequence_length_tokens={LENGTH}",
            "model.init_std=0.1",
            "precision.dtype=bf16",
            "batch.micro_batch_size_samples=3",
            "data.mask_between_documents=true",
        ),
    )


def sample(tokens: Tensor, begins: tuple[int, ...] | None) -> dict[str, Tensor]:
    """What a corpus gives, on the GPU."""
    length = tokens.numel() - 1
    values = {
        "tokens": tokens[:-1],
        "labels": tokens[1:],
        "loss_mask": torch.ones(length, device="cuda"),
        "position_ids": torch.arange(length, device="cuda"),
    }
    if begins is not None:
        ends = torch.full((length + 1,), length, dtype=torch.int32)
        ends[: len(begins)] = torch.tensor(begins)
        values["cu_seqlens"] = ends
    return values


def losses(model: torch.nn.Module, samples: list[dict[str, Tensor]]) -> Tensor:
    batch = {name: tensor.cuda() for name, tensor in collate(samples).items()}
    with torch.no_grad():
        return forward_step(iter([batch]), model)[0].flatten().float()


def test_masked_documents_have_the_losses_of_documents_alone(config):
    texts = torch.randint(VOCABULARY, (len(BEGINS), LENGTH + 1), generator=torch.Generator().manual_seed(0)).cuda()
    with process_groups(config):
        model = build_gpt(config, VOCABULARY).cuda().bfloat16().eval()
        masked = losses(model, [sample(text, begins) for text, begins in zip(texts, BEGINS, strict=True)])
        open_ = losses(model, [sample(text, None) for text in texts])
        alone = [
            losses(model, [sample(text[begin : end + 1], None)])
            for text, begins in zip(texts, BEGINS, strict=True)
            for begin, end in zip(begins, (*begins[1:], LENGTH), strict=True)
        ]
    assert (masked - torch.cat(alone)).abs().max() < BF16_NOISE
    assert (open_ - torch.cat(alone)).abs().max() > 5 * BF16_NOISE


def test_gradients_flow_through_masked_documents(config):
    texts = torch.randint(VOCABULARY, (len(BEGINS), LENGTH + 1), generator=torch.Generator().manual_seed(1)).cuda()
    samples = [sample(text, begins) for text, begins in zip(texts, BEGINS, strict=True)]
    with process_groups(config):
        (model,) = build_model(config, VOCABULARY, torch.device("cuda"))
        batch = {name: tensor.cuda() for name, tensor in collate(samples).items()}
        output, loss_of = forward_step(iter([batch]), model)
        total, tokens, _ = loss_of(output)
        (total / tokens).backward()
        gradients = [parameter.main_grad for parameter in model.parameters()]
    assert int(tokens) == len(BEGINS) * LENGTH
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
