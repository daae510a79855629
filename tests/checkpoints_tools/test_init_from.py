"""Training begins with the weights of `train.init_from`, in every layout, at the loss that transformers computes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import recipe_command, run_warm, sets
from hf_models import Case, build, exported, save
from layouts import LEARNING_RATE, MODELS, PAIRS
from safetensors.torch import load_file
from small_runs import records
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from checkpoints_tools.from_hf import CHECKPOINT, import_hf, plan_import
from checkpoints_tools.to_hf import export_run
from megatron_recipe.data import build_mix, train_batches
from megatron_recipe.files import read_jsonl
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config

Numbers = dict[str, dict[str, dict[str, float]]]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Numbers]:
    """The folder of the models, and what four ranks found."""
    root = tmp_path_factory.mktemp("layouts")
    for name, (case, _) in MODELS.items():
        folder = save(build(case, num_hidden_layers=4), root / name / "hf")
        import_hf(plan_import(folder), folder.with_name("imported"), compare=False)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    done = run_warm([*torchrun, str(Path(__file__).with_name("layout_ranks.py")), str(root)], cwd=root.parent)
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


@pytest.mark.slow
def test_a_run_of_the_recipe_begins_at_transformers_loss(dataset, tmp_path):
    """The way of a user: HF → recipe → training → HF; the model has more ids than the dataset's tokenizer."""
    folder = save(build(Case("qwen2", True, 2, 517)), tmp_path / "hf")
    import_hf(plan_import(folder), tmp_path / "imported", compare=False)
    settings = (
        f"data.datasets={dataset}",
        "batch.global_batch_size_samples=8",
        "batch.micro_batch_size_samples=4",
        "train.steps=2",
        "train.log_every_steps=1",
        "train.validation_samples=8",
        "precision.dtype=fp32",
    )
    recipe = tmp_path / "imported/recipe.yaml"
    command = recipe_command(["train", recipe, "--run-dir", tmp_path / "run", *sets(*settings)])
    done = run_warm(command, tmp_path)
    assert done.returncode == 0, done.stderr
    config = load_config(str(tmp_path / "run/config.yaml"))
    batches = train_batches(
        build_mix(config, tmp_path / "cache"), 0, 0, [], config, Ranks(0, 1, 0, 1, torch.device("cpu"))
    )
    pieces = [next(batches), next(batches)]
    torch.save({name: torch.cat([one[name] for one in pieces]) for name in pieces[0]}, tmp_path / "batch.pt")
    losses = [record["loss"] for record in records(tmp_path / "run", "train")]
    assert losses[0] == pytest.approx(transformers_loss(tmp_path), abs=1e-4)
    assert losses[1] != pytest.approx(losses[0], abs=1e-4)
    events = read_jsonl(tmp_path / "run/events.jsonl")
    assert events[0]["event"] == "start" and events[0]["init_from"] == str(tmp_path / "imported")

    export_run(tmp_path / "run", tmp_path / "exported", compare=False)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    assert type(model).__name__ == "Qwen2ForCausalLM" and model.config.vocab_size == 517
    before = load_file(folder / "model.safetensors")
    for name, weight in model.state_dict().items():
        assert name == "lm_head.weight" or 0 < float((weight - before[name]).abs().max()) < 3 * 5e-5, name
