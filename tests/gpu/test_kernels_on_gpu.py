"""On a GPU: each choice of kernels trains as the plain one, and is continued where it stopped."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from direct_steps import DirectRun, small_config
from test_precisions_on_gpu import STEPS, gpu_config

from megatron_recipe import model, parallel
from megatron_recipe.checkpoint import own_pickles_are_trusted

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or not model.transformer_engine_is_there(),
    reason="needs a GPU with TE",
)
PLAIN = ("kernels.layer=engine", "kernels.loss=megatron", "kernels.attention=cudnn")
CHOICES = {
    "fused layer": ("kernels.layer=fused",),
    "fused layer, norms of heads": ("kernels.layer=fused", "model.qk_norm=true"),
    "cross entropy over the logits": ("kernels.loss=engine",),
    "cross entropy in one pass": ("kernels.loss=fused",),
    "flash attention": ("kernels.attention=flash",),
    "rounded states": ("optimizer.states=bf16", "precision.gradients=bf16"),
    "rounded states, whole gradients": ("optimizer.states=bf16",),
}
BACKENDS = ("NVTE_FLASH_ATTN", "NVTE_FUSED_ATTN", "NVTE_UNFUSED_ATTN", "NVTE_FLASH_ATTN_V2", "NVTE_FLASH_ATTN_V3")
"""Megatron chooses attention by these variables, and refuses to change them for a second model of the process."""
PACKAGES = {"kernels.layer=fused": "quack", "kernels.loss=fused": "quack", "kernels.attention=flash": "flash_attn"}


@pytest.fixture(scope="module", autouse=True)
def groups() -> Iterator[None]:
    with parallel.process_groups(small_config()):
        yield


@pytest.fixture(autouse=True)
def environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BACKENDS:
        monkeypatch.setenv(name, "")


def run_of(precision: str, *sets: str) -> DirectRun:
    """A run on the GPU; skips the test where a package is missing."""
    for name in BACKENDS:
        os.environ.pop(name, None)
    for choice in sets:
        if precision == "bf16" and choice in PACKAGES and find_spec(PACKAGES[choice]) is None:
            pytest.skip(f"{choice} needs {PACKAGES[choice]}")
    return DirectRun(gpu_config(precision, *sets), "cuda")


@pytest.mark.parametrize("choice", CHOICES)
def test_losses_are_those_of_plain_kernels(choice):
    sets = CHOICES[choice]
    chosen = run_of("bf16", *sets).steps(STEPS)
    plain = run_of("bf16", *PLAIN, *(one for one in sets if one.startswith("model."))).steps(STEPS)
    assert [loss for loss, _ in chosen] == pytest.approx([loss for loss, _ in plain], rel=5e-3)
    assert [norm for _, norm in chosen] == pytest.approx([norm for _, norm in plain], rel=3e-2)


@pytest.mark.parametrize("recompute", ["none", "full"])
def test_a_fused_fp8_layer_has_the_losses_of_an_unfused_one(recompute):
    fused, plain = (
        run_of("delayed", f"kernels.layer={layer}", f"memory.recompute={recompute}").steps(STEPS)
        for layer in ("fused", "engine")
    )
    assert [loss for loss, _ in fused] == pytest.approx([loss for loss, _ in plain], rel=1e-2)


@pytest.mark.parametrize(
    ("precision", "sets"),
    [
        ("bf16", CHOICES["fused layer"]),
        ("bf16", CHOICES["rounded states"]),
        ("bf16", CHOICES["rounded states, whole gradients"]),
        ("delayed", ("kernels.layer=fused",)),
        ("delayed", ("kernels.layer=engine",)),
    ],
)
def test_a_continued_run_goes_on_as_if_it_had_not_stopped(precision, sets, tmp_path: Path):
    first = run_of(precision, *sets)
    first.steps(4)
    first.save(tmp_path / "checkpoint")
    expected = [loss for loss, _ in first.steps(4)]
    second = run_of(precision, *sets)
    with own_pickles_are_trusted():
        second.load(tmp_path / "checkpoint", done=4)
    # attention's backward pass adds in no fixed order
    assert [loss for loss, _ in second.steps(4)] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("sets", [("kernels.layer=fused",), ("kernels.layer=engine",)])
def test_layers_of_one_kind_read_checkpoints_of_the_other(sets, tmp_path: Path):
    other = tuple({"kernels.layer=fused", "kernels.layer=engine"} - set(sets))
    first = run_of("bf16", *sets)
    first.steps(4)
    first.save(tmp_path / "checkpoint")
    second = run_of("bf16", *other)
    second.load(tmp_path / "checkpoint", done=4)
    assert [loss for loss, _ in second.steps(2)] == pytest.approx([loss for loss, _ in first.steps(2)], rel=5e-3)
