"""On a GPU: choices for a smaller card hold within its memory, and an out-of-memory comes down to what fits."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from commands import recipe_command, sets
from small_runs import records

from megatron_recipe.plan.hardware import profile

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_properties(0).total_memory < 70e9,
    reason="needs a GPU of 80 GB",
)

CARD = "a100_40"
RUN = (
    "batch.global_batch_size_samples=32",
    "train.steps=2",
    "train.log_every_steps=1",
    "train.validation_samples=0",
    "checkpoint.save_every_steps=0",
    "checkpoint.save_every_minutes=0",
    "data.num_workers=0",
)


def train(recipe: str, dataset: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Two steps of a recipe as on the smaller card; each saves its 14 GB once, at the end."""
    settings = sets(f"data.datasets={dataset}", *RUN)
    command = recipe_command(["train", recipe, "--gpu", CARD, "--run-dir", folder, *settings, *options])
    return subprocess.run(command, capture_output=True, text=True, timeout=400)


def test_the_choice_for_a_smaller_card_stays_within_its_memory(dataset, tmp_path):
    done = train("gpt_1b", dataset, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    peak = max(record["memory_reserved_gb"] * 1e9 for record in records(tmp_path / "run", "train"))
    assert 0.6 * profile(CARD).memory_bytes < peak <= profile(CARD).memory_bytes


def test_an_out_of_memory_goes_on_with_what_fits(dataset, tmp_path):
    too_much = sets("batch.micro_batch_size_samples=8", "memory.recompute=none")
    refused = train("gpt_1b", dataset, tmp_path / "run", *too_much)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "out of GPU memory with micro-batch 8" in refused.stderr
    assert "micro_batch_size_samples=4" in refused.stderr and "--auto-micro-batch" in refused.stderr
    done = train("gpt_1b", dataset, tmp_path / "run", *too_much, "--auto-micro-batch")
    assert done.returncode == 0, done.stderr
    limit = json.loads((tmp_path / "run/memory_limit.json").read_text(encoding="utf-8"))
    assert limit["micro_batch"] < 8
    assert [record["step"] for record in records(tmp_path / "run", "train")] == [1, 2]


def test_fp8_is_refused_as_on_a_card_without_it(dataset, tmp_path):
    refused = train("gpt_1b_fp8", dataset, tmp_path / "run")
    assert refused.returncode == 2
    assert "gpt_1b" in refused.stderr and "precision.fp8" in refused.stderr
