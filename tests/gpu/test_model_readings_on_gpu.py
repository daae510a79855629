"""On a GPU: readings of the model change no bit of the training, hold in every kind of layer and cost little memory."""

import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import recipe_command, sets
from small_runs import records

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

RUN = (
    "batch.global_batch_size_samples=16",
    "batch.micro_batch_size_samples=8",
    "train.steps=6",
    "train.log_every_steps=2",
    "train.validation_samples=0",
    "checkpoint.save_every_steps=0",
    "data.num_workers=0",
)
KINDS = ("attention", "feed_forward", "norms", "embedding")
SPARE_GB = 0.5


def trained(dataset: Path, folder: Path, *options: str) -> list[dict[str, Any]]:
    """The records of six steps of the 100M recipe, with attention kernels that add in a fixed order."""
    settings = sets(f"data.datasets={dataset}", "kernels.attention=cudnn", *RUN, *options)
    command = recipe_command(["train", "gpt_100m", "--run-dir", folder, *settings])
    environment = {**os.environ, "NVTE_ALLOW_NONDETERMINISTIC_ALGO": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return records(folder, "train")


@pytest.mark.parametrize("layer", ["engine", "auto"])
def test_training_does_not_notice(dataset, tmp_path, layer):
    kernels = f"kernels.layer={layer}"
    read = trained(dataset, tmp_path / "read", kernels)
    blind = trained(dataset, tmp_path / "blind", kernels, "logging.model_readings=false")
    for field in ("loss", "grad_norm", "learning_rate"):
        assert [record[field] for record in read] == [record[field] for record in blind], field
    assert read[-1]["memory_gb"] - blind[-1]["memory_gb"] < SPARE_GB
    for record in read:
        assert math.hypot(*(record[f"grad_norm_{kind}"] for kind in KINDS)) == pytest.approx(record["grad_norm"], 1e-3)
        assert 0 < record["update_ratio"] < 1
        assert record["memory_card_gb"] > record["memory_reserved_gb"]
        for name in ("layer_grad_norms", "layer_activation_rms", "layer_attention_logits"):
            assert len(record[name]) == 12
            assert all(0 < value < 1e3 for value in record[name])
