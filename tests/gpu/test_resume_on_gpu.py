"""On a GPU: Transformer Engine's layers and optimizer train in BF16, and a continued run is the uninterrupted one."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from commands import recipe_command
from small_runs import arguments, records

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def train(dataset: Path, run_dir: Path, *overrides: str) -> None:
    """Train in BF16 on the first GPU, with attention kernels that add in a fixed order."""
    settings = arguments(
        dataset, run_dir, "precision.dtype=bf16", "model.head_dim=32", "kernels.attention=cudnn", *overrides
    )
    environment = {**os.environ, "NVTE_ALLOW_NONDETERMINISTIC_ALGO": "0", "CUDA_VISIBLE_DEVICES": "0"}
    command = recipe_command(["train", "gpt_tiny_cpu", *settings])
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


def test_a_continued_run_has_the_losses_of_the_uninterrupted_one(dataset, tmp_path):
    train(dataset, tmp_path / "straight")
    train(dataset, tmp_path / "resumed", "train.stop_at_step=10")
    train(dataset, tmp_path / "resumed")
    straight, resumed = (
        [record["loss"] for record in records(tmp_path / name, "train")] for name in ("straight", "resumed")
    )
    assert len(straight) == 20
    # 10 + 10 steps: rounding the FP32 master weights to BF16 on the way shows from the second step after the load
    assert resumed == straight
    assert straight[-1] < straight[0]
