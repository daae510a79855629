"""Training begins with the weights of `train.init_from`, in every layout, at the loss that transformers computes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run
from hf_models import build, exported, save
from layouts import LEARNING_RATE, MODELS, PAIRS
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from checkpoints_tools.from_hf import CHECKPOINT, import_hf, plan_import

Numbers = dict[str, dict[str, dict[str, float]]]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Numbers]:
    """The folder of the models, and what four ranks found."""
    root = tmp_path_factory.mktemp("layouts")
    for name, (case, _) in MODELS.items():
        folder = save(build(case, num_hidden_layers=4), root / name / "hf")
        import_hf(plan_import(folder), folder.with_name("imported"), compare=False)
    torchrun = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    done = run([*torchrun, str(Path(__file__).with_name("layout_ranks.py")), str(root)], cwd=root.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    return root, json.loads(done.stdout.splitlines()[-1])


def transformers_loss(folder: Path) -> float:
    """Mean loss of the model in a folder on the ranks' batch, in FP32."""
    batch = torch.load(folder / "batch.pt")
    model: Any = AutoModelForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32)
    with torch.inference_mode():
        logits = model(batch["tokens"]).logits
    return float(cross_entropy(logits.flatten(0, 1), batch["labels"].flatten()))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_the_first_loss_is_transformers(laid_out, name, layout):
    root, found = laid_out
    tolerance = 3e-2 if layout == "bf16" else 1e-4
    assert found[name][layout]["loss"] == pytest.approx(transformers_loss(root / name), abs=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_what_the_ranks_hold_is_the_model_bitwise(laid_out, name, layout):
    root, _ = laid_out
    original = load_file(root / name / "hf/model.safetensors")
    saved = exported(root / name / layout, root / name / "imported" / CHECKPOINT)
    assert saved.keys() == original.keys()
    for key, weight in original.items():
        assert torch.equal(saved[key], weight.bfloat16() if layout == "bf16" else weight), key


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout"), PAIRS)
def test_the_optimizer_goes_on_from_these_weights(laid_out, name, layout):
    """AdamW's first step moves a weight by about the learning rate; own copies of the random weights would jump."""
    _, found = laid_out
    # the size of a weight is below 2, where BF16 has steps of 2^-7
    assert 0 < found[name][layout]["moved"] <= (2**-7 if layout == "bf16" else 2 * LEARNING_RATE)
