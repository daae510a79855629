"""On a GPU: rounded states are saved and loaded in about the memory that training has; a 7B on one card has no more."""

from collections.abc import Iterator

import pytest
import torch
from direct_steps import DirectRun, small_config
from test_precisions_on_gpu import gpu_config

from megatron_recipe import model, parallel
from megatron_recipe.checkpoint import own_pickles_are_trusted
from megatron_recipe.direct_optimizer_state import describe_states_in_place

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or not model.transformer_engine_is_there(),
    reason="needs a GPU with TE",
)
BYTES = 4.0
"""A parameter, besides what training holds; FP32 copies of both means were 8."""


@pytest.fixture(scope="module", autouse=True)
def groups() -> Iterator[None]:
    with parallel.process_groups(small_config()):
        yield


def run_of() -> DirectRun:
    """A run of 27 million parameters, so that what is not a parameter's weighs little."""
    wide = ("model.hidden_size=768", "model.ffn_hidden_size=2048", "model.num_layers=4")
    run = DirectRun(gpu_config("bf16", "optimizer.states=bf16", "precision.gradients=bf16", *wide), "cuda")
    describe_states_in_place(run.optimizer)
    return run


def test_a_checkpoint_takes_little_memory_and_goes_on_from_there(tmp_path):
    run = run_of()
    run.steps(3)
    parameters = sum(parameter.numel() for parameter in run.model[0].parameters())
    with own_pickles_are_trusted():
        assert taken_by(lambda: run.save(tmp_path / "saved")) < BYTES * parameters
        straight = run.steps(3)
        other = run_of()
        assert taken_by(lambda: other.load(tmp_path / "saved", done=3)) < BYTES * parameters
    assert other.steps(3) == pytest.approx(straight, rel=1e-3)


def taken_by(work) -> int:
    """Bytes of the GPU at its highest, above what was held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
