"""What a micro-batch becomes before the model sees it."""

from typing import Any

import pytest
import torch
from megatron.core import parallel_state

from megatron_recipe.forward_step import forward_step


def test_interleaved_stages_get_the_same_part_of_a_sequence(monkeypatch):
    """Each virtual stage is given the micro-batch itself, not a copy (validate_loss.data_iterators)."""
    monkeypatch.setattr(parallel_state, "get_context_parallel_world_size", lambda: 2)
    monkeypatch.setattr(parallel_state, "get_context_parallel_group", lambda: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda group: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda group: 1)
    row = torch.arange(8).view(1, 8)
    batch: dict[str, Any] = {"tokens": row, "labels": row + 1, "position_ids": row, "loss_mask": torch.ones(1, 8)}
    seen = []

    def model(tokens, positions, labels, **_):
        seen.append((tokens.tolist(), positions.tolist(), labels.tolist()))
        return torch.zeros(labels.shape)

    for stage in range(2):
        losses, masked = forward_step(iter([batch]), model)
        assert masked(losses)[1] == 4, f"virtual stage {stage}"
    # of four pieces the second rank has the second and the third, so that both ranks look back equally far
    assert seen == [([[2, 3, 4, 5]], [[2, 3, 4, 5]], [[3, 4, 5, 6]])] * 2


@pytest.mark.parametrize("left_out", [0, 3])
def test_a_loss_is_summed_over_the_tokens_that_count(left_out):
    mask = torch.ones(1, 8)
    mask[0, :left_out] = 0
    batch = {name: torch.zeros(1, 8, dtype=torch.int64) for name in ("tokens", "labels", "position_ids")}
    losses, masked = forward_step(iter([{**batch, "loss_mask": mask}]), lambda *_, **__: torch.full((1, 8), 2.0))
    total, tokens, told = masked(losses)
    assert (float(total), int(tokens)) == (2.0 * (8 - left_out), 8 - left_out)
    assert told["loss"].tolist() == [float(total), float(tokens)]
