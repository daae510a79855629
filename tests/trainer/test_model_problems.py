"""Precisions and optimizers that can't work are refused with field, value, rule and remedy."""

import subprocess
import sys

import pytest
from commands import ENVIRONMENT

from megatron_recipe import model_problems
from megatron_recipe.recipes import load_config

FP8 = ("precision.dtype=bf16", "precision.fp8=delayed", "batch.micro_batch_size_samples=2")
BLOCKWISE = ("precision.fp8=blockwise", "batch.micro_batch_size_samples=2")
PLAIN = "parallel.distributed_optimizer=false"


def problems(*overrides: str, recipe: str = "gpt_1b", on_cpu: bool = False) -> list[str]:
    return list(model_problems.precision_and_optimizer_problems(load_config(recipe, overrides), on_cpu))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("precision.dtype=fp16",),
        FP8,
        BLOCKWISE,
        ("precision.fp8=tensorwise", "memory.recompute=full"),
        ("memory.recompute=selective",),
        ("optimizer.kind=sgd", PLAIN, "precision.dtype=fp16"),
        ("parallel.overlap_param_gather=true", PLAIN),
    ],
)
def test_what_works_is_let_through(overrides):
    assert problems(*overrides) == []


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ((*FP8, "precision.dtype=fp32"), ["precision.dtype=fp32", "set precision.dtype=bf16"]),
        ((*FP8, "precision.dtype=fp16"), ["precision.dtype=fp16", "set precision.dtype=bf16"]),
        ((*FP8, "memory.recompute=selective"), ["memory.recompute=selective saves nothing", "none or full"]),
        ((*FP8, "model.hidden_size=2056"), ["model.hidden_size=2056", "multiple of 16", "use 2064"]),
        (
            (*FP8, "model.ffn_hidden_size=8208", "parallel.tensor=2"),
            ["model.ffn_hidden_size=8208 / parallel.tensor=2 = 4104", "use 4112"],
        ),
        (
            (*FP8, "model.head_dim=18", "model.num_kv_groups=1"),
            ["(model.num_heads + 2 × num_kv_groups) × head_dim = (16 + 2 × 1) × 18 = 324", "use 336"],
        ),
        (
            (*FP8, "model.sequence_length_tokens=4094"),
            ["sequence_length_tokens × batch.micro_batch_size_samples = 4094 × 2 = 8188", "use 8192"],
        ),
        ((*BLOCKWISE, "model.ffn_hidden_size=8208"), ["= 8208", "multiple of 128", "precision.fp8=blockwise"]),
        (("optimizer.kind=sgd",), ["parallel.distributed_optimizer=true", "set parallel.distributed_optimizer=false"]),
        (("optimizer.kind=muon",), ["optimizer.kind=muon", "set parallel.distributed_optimizer=false"]),
        (("optimizer.kind=muon", PLAIN, "precision.dtype=fp16"), ["precision.dtype=fp16", "set precision.dtype=bf16"]),
    ],
)
def test_what_cannot_work_is_refused_once_with_a_remedy(overrides, parts, monkeypatch):
    monkeypatch.setattr(model_problems, "find_spec", lambda name: object())
    (message,) = problems(*overrides)
    assert [part for part in parts if part not in message] == []


def test_fp8_on_a_cpu_is_refused():
    (message,) = problems(*FP8, on_cpu=True)
    assert "no usable GPU; set precision.fp8=off" in message


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(model_problems, "find_spec", lambda name: None)
    (message,) = problems("optimizer.kind=muon", PLAIN)
    assert "pip install emerging-optimizers" in message


def test_the_rules_need_no_torch():
    code = "import sys, megatron_recipe.model_problems; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
