"""On a GPU: Transformer Engine's layers take a Hugging Face model's weights and begin at its loss, FP8 scales anew."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from direct_steps import DirectRun, small_config
from torch.nn.functional import cross_entropy

from checkpoints_tools.from_hf import CHECKPOINT, import_hf, plan_import
from checkpoints_tools.megatron_checkpoint import checkpoint_facts, model_config
from megatron_recipe import model, parallel
from megatron_recipe.initial_weights import take_initial_weights

sys.path.append(str(Path(__file__).parents[1] / "checkpoints_tools"))

from hf_models import Case, build, save

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or not model.transformer_engine_is_there(), reason="needs a GPU with TE"
)
CASES = [
    Case("llama3", False, 2, 101),
    Case("qwen2", True, 2, 101),
    Case("qwen3", False, 2, 101),
    Case("mistral", True, 6, 128),
]
# settings, and how far the rounding may move the loss: FP32 is multiplied in TF32
PRECISIONS = {
    "fp32": (("precision.dtype=fp32",), 1e-2),
    "bf16": (("precision.dtype=bf16",), 5e-2),
    "fp8": (("precision.dtype=bf16", "precision.fp8=delayed"), 0.2),
}


@pytest.fixture(scope="module")
def groups() -> Iterator[parallel.Ranks]:
    with parallel.process_groups(small_config()) as ranks:
        yield ranks


def transformers_loss(hf: Any, run: DirectRun) -> float:
    """On the tokens of the run's first step, in FP32 on the CPU."""
    batches = run.micro_batches(0)
    tokens, labels = (torch.cat([one[name] for one in batches]).cpu() for name in ("tokens", "labels"))
    with torch.inference_mode():
        return float(cross_entropy(hf(tokens).logits.flatten(0, 1), labels.flatten()))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_first_loss_is_transformers(groups, tmp_path, monkeypatch, case, precision):
    settings, tolerance = PRECISIONS[precision]
    if precision == "fp8" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("FP8 needs capability 8.9")
    hf = build(case)
    import_hf(plan_import(save(hf, tmp_path / "hf")), tmp_path / "imported", compare=False)
    monkeypatch.setattr("direct_steps.VOCAB", case.vocab_size)
    config = small_config(f"train.init_from={tmp_path / 'imported'}", *settings)
    facts = checkpoint_facts(tmp_path / "imported" / CHECKPOINT)
    config = config.model_copy(update={"model": model_config(facts)})
    run = DirectRun(config, "cuda")
    take_initial_weights(run.training, config, groups)
    assert run.backward(forward_only=True) == pytest.approx(transformers_loss(hf, run), abs=tolerance)
    losses = [loss for loss, _ in run.steps(8)]
    assert losses[-1] < losses[0]
