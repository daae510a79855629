"""On a GPU: Transformer Engine's layers judge continuations in every precision, in shapes that FP8 takes."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from direct_steps import DirectRun, small_config

from megatron_recipe import model, parallel

sys.path.append(str(Path(__file__).parents[1] / "trainer"))

from continuations import batches_of, continuations, judged, one_by_one

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or not model.transformer_engine_is_there(), reason="needs a GPU with TE"
)
# settings, the capability that they need, how far rounding may move a likelihood; FP8 takes no single sequence
PRECISIONS = {
    "fp32": (("precision.dtype=fp32",), (8, 0), 0.02),
    "bf16": (("precision.dtype=bf16",), (8, 0), 0.3),
    "fp8 delayed": (("precision.dtype=bf16", "precision.fp8=delayed"), (8, 9), None),
    "fp8 tensorwise": (("precision.dtype=bf16", "precision.fp8=tensorwise"), (8, 9), None),
    "fp8 blockwise": (("precision.dtype=bf16", "precision.fp8=blockwise"), (9, 0), None),
}


@pytest.fixture(scope="module")
def groups() -> Iterator[parallel.Ranks]:
    with parallel.process_groups(small_config()) as ranks:
        yield ranks


@pytest.mark.parametrize("precision", PRECISIONS)
def test_continuations_are_judged_in_every_precision(groups, precision):
    settings, capability, tolerance = PRECISIONS[precision]
    if torch.cuda.get_device_capability() < capability:
        pytest.skip(f"needs capability {capability}")
    run = DirectRun(small_config(*settings), "cuda")
    run.steps(3)
    assert all(batch.tokens.numel() % 128 == 0 for batch in batches_of(run))
    random_state = torch.cuda.get_rng_state()
    found = judged(run, groups)
    assert torch.equal(random_state, torch.cuda.get_rng_state())
    assert len(found) == len(continuations())
    assert all(math.isfinite(total) and total < 0 for total, _ in found)
    if tolerance is not None:
        alone = one_by_one(run)
        assert [total for total, _ in found] == pytest.approx([total for total, _ in alone], abs=tolerance)
    every_next = found[30:]
    assert sum(math.exp(total) for total, _ in every_next) == pytest.approx(1, abs=1e-3)
    # one of them is the likeliest; equal logits are told apart, the likelihoods alike
    (greedy,) = (total for total, is_greedy in every_next if is_greedy)
    assert greedy == max(total for total, _ in every_next)
    assert all(math.isfinite(loss) for loss, _ in run.steps(2))
