"""On a GPU: what Transformer Engine trained in BF16 and FP8 exports on the CPU, with the GPU's best tokens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

ROOT = Path(__file__).parents[2]


def benchmark(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.export_from_gpu", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_checkpoints_of_transformer_engine_export_with_its_logits(dataset, tmp_path):
    trained = benchmark("train", tmp_path, "--dataset", dataset, CUDA_VISIBLE_DEVICES="0")
    assert trained.returncode == 0, trained.stderr[-3000:]
    checked = benchmark("check", tmp_path, CUDA_VISIBLE_DEVICES="")
    assert checked.returncode == 0, checked.stdout + checked.stderr[-3000:]
    assert "bf16" in checked.stdout and "fp8" in checked.stdout
