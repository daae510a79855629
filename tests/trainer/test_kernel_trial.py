"""Packages of kernels that are there and do not work: the run goes on without them, and says why, once."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from megatron.core.models.gpt.gpt_model import GPTModel
from torch_kernels import TorchKernels

from megatron_recipe import kernel_trial, layer_kernels
from megatron_recipe.kernel_trial import LARGEST_ERROR, runs_here
from megatron_recipe.kernels import FLASH_ATTENTION, QUACK, Kernels, choose
from megatron_recipe.loss_head import GPTModelWithOnePassLoss, GPTModelWithOverwrittenLogits, gpt_model
from megatron_recipe.recipes import load_config

HOPPER = (9, 0)
WIDTH = 256
FAST = Kernels(layer="fused", attention="flash", loss="fused")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], float]], list[str]]:
    """Let all packages be there, with `trial` in the place of theirs; gives the names of those that were tried."""
    monkeypatch.setattr(kernel_trial, "is_installed", lambda package: True)
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    monkeypatch.delenv("RANK", raising=False)
    kernel_trial._part_works.cache_clear()
    names: list[str] = []

    def with_trial(trial: Callable[[], float]) -> list[str]:
        for name in ("fused_layer_error", "flash_attention_error"):
            monkeypatch.setattr(kernel_trial, name, lambda *_, name=name: names.append(name) or trial())
        return names

    yield with_trial
    kernel_trial._part_works.cache_clear()


def fails(*_: torch.Tensor) -> float:
    raise TypeError("epilogue fn depends on\n a ContextVar")


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (fails, "TypeError: epilogue fn depends on a ContextVar"),
        (lambda: 0.4, "wrong numbers, 40% off"),
        (lambda: float("nan"), "wrong numbers, nan% off"),
    ],
)
def test_kernels_that_fail_are_left_out_and_said_once(tried, capsys, trial, reason):
    names = tried(trial)
    for _ in range(2):  # the plan asks, and then the model
        chosen = choose(load_config("gpt_1b"), HOPPER, runs_here)
        assert (chosen.layer, chosen.attention) == ("engine", "auto")
    assert names == ["fused_layer_error", "flash_attention_error"]
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{QUACK} is installed, but its kernels cannot be used here ({reason}); Transformer Engine's layers take their "
        "place, 5 % slower; set kernels.layer=engine to try no more",
        f"{FLASH_ATTENTION} is installed, but its kernels cannot be used here ({reason}); cuDNN's attention takes its "
        "place, 2 % slower; set kernels.attention=cudnn to try no more",
    ]


def test_kernels_that_work_are_taken_without_a_word(tried, capsys):
    tried(lambda: LARGEST_ERROR / 4)
    assert choose(load_config("gpt_1b"), HOPPER, runs_here).layer == "fused"
    assert capsys.readouterr().err == ""


def test_other_ranks_do_not_say_it_again(tried, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    tried(fails)
    assert choose(load_config("gpt_1b"), HOPPER, runs_here).layer == "engine"
    assert capsys.readouterr().err == ""


def plain_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """[length, batch, heads, width] → [length, batch, heads × width], BF16."""
    group = query.shape[2] // key.shape[2]
    key, value = (tensor.repeat_interleave(group, dim=2).float() for tensor in (key, value))
    scores = torch.einsum("qbhd,kbhd->bhqk", query.float(), key) / query.shape[-1] ** 0.5
    ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    shares = scores.masked_fill(ahead, float("-inf")).softmax(-1)
    return torch.einsum("bhqk,kbhd->qbhd", shares, value).flatten(2).bfloat16()


def right_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """[rows, vocabulary] and [rows] → [rows]."""
    return torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The trials with plain torch in the kernels' place."""
    flash = SimpleNamespace(causal_attention=plain_attention)
    in_one_pass = SimpleNamespace(cross_entropy=right_losses)
    monkeypatch.setattr(kernel_trial, "numbers", lambda *shape, seed=0: torch.randn(*shape, device="cpu").bfloat16())
    monkeypatch.setattr(layer_kernels, "QuackKernels", TorchKernels)
    monkeypatch.setitem(sys.modules, "megatron_recipe.flash_attention", flash)
    monkeypatch.setitem(sys.modules, "megatron_recipe.one_pass_loss", in_one_pass)
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    monkeypatch.delenv("RANK", raising=False)
    kernel_trial.loss_runs_here.cache_clear()
    yield
    kernel_trial.loss_runs_here.cache_clear()


def test_right_kernels_pass_their_trials(on_cpu):
    assert kernel_trial.fused_layer_error(WIDTH) < LARGEST_ERROR / 2
    assert kernel_trial.flash_attention_error() < LARGEST_ERROR / 2


@pytest.mark.parametrize("name", [name for name in vars(TorchKernels) if not name.startswith("_")])
def test_each_wrong_kernel_of_a_layer_is_found(on_cpu, monkeypatch, name):
    right = getattr(TorchKernels, name)

    def wrong(self, first, *others):
        return right(self, first.roll(1, 0), *others)  # of another token

    monkeypatch.setattr(TorchKernels, name, wrong)
    assert kernel_trial.fused_layer_error(WIDTH) > 10 * LARGEST_ERROR


def test_wrong_attention_is_found(on_cpu, monkeypatch):
    flash = SimpleNamespace(causal_attention=lambda query, key, value: plain_attention(query, key, value.flip(0)))
    monkeypatch.setitem(sys.modules, "megatron_recipe.flash_attention", flash)
    assert kernel_trial.flash_attention_error() > 10 * LARGEST_ERROR


@pytest.mark.parametrize(
    ("sets", "card"),
    [
        # who asks for them is told how they fail
        (("kernels.layer=fused", "kernels.attention=flash", "kernels.loss=fused"), HOPPER),
        (("kernels.layer=engine", "kernels.attention=cudnn", "kernels.loss=engine"), HOPPER),
        (("parallel.tensor=2", "parallel.context=2"), HOPPER),
        ((), (8, 0)),
    ],
)
def test_nothing_is_tried_that_would_not_be_taken(tried, sets, card):
    names = tried(fails)
    choose(load_config("gpt_1b", sets), card, runs_here)
    assert names == []


def nan_in_validation(logits, labels):
    """As quack 0.6.5 computes of 151,936 logits."""
    losses = right_losses(logits, labels)
    return losses if logits.requires_grad else losses * float("nan")


def with_shares(factor: float):
    """Right losses, whose gradient has its softmax times a factor."""

    def losses(logits, labels):
        total = logits.float().logsumexp(-1)
        return right_losses(logits, labels) + (factor - 1) * (total - total.detach())

    return losses


@pytest.mark.parametrize(
    "wrong",
    [
        lambda logits, labels: right_losses(logits, labels.roll(1)),
        lambda logits, labels: right_losses(logits, labels) + 0.01,
        with_shares(0),
        with_shares(1.2),
        nan_in_validation,
        fails,
    ],
)
def test_a_cross_entropy_that_fails_is_left_out_and_said_once(on_cpu, capsys, monkeypatch, wrong):
    monkeypatch.setattr(sys.modules["megatron_recipe.one_pass_loss"], "cross_entropy", wrong)
    for _ in range(2):
        assert gpt_model(FAST, 151_665, 151_936) is GPTModelWithOverwrittenLogits
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("quack-kernels' cross entropy cannot be used with a vocabulary of 151,936 (")
    assert said.endswith("; Transformer Engine's takes its place, 1 % slower; set kernels.loss=engine to try no more")


def test_a_right_one_is_taken_without_a_word(on_cpu, capsys):
    assert gpt_model(FAST, 1000, 1024) is GPTModelWithOnePassLoss
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("chosen", "kind"),
    [
        (None, GPTModel),
        (replace(FAST, loss="megatron"), GPTModel),
        (replace(FAST, loss="engine"), GPTModelWithOverwrittenLogits),
    ],
)
def test_other_losses_are_not_tried(chosen, kind):
    assert gpt_model(chosen, 1000, 1024) is kind


def test_the_trial_has_the_runs_padding(on_cpu, monkeypatch):
    seen = []

    def remembered(logits, labels):
        seen.append((logits.shape[1], int((logits[0] < -1e38).sum()), int(labels.max())))
        return right_losses(logits, labels)

    monkeypatch.setattr(sys.modules["megatron_recipe.one_pass_loss"], "cross_entropy", remembered)
    assert gpt_model(FAST, 1000, 1024) is GPTModelWithOnePassLoss
    assert {(width, padding) for width, padding, _ in seen} == {(1024, 24)}
    assert all(label < 1000 for *_, label in seen)


def test_trials_work_where_a_model_is_built_without_gradients(on_cpu):
    with torch.inference_mode(), torch.device("meta"):
        assert kernel_trial._works(lambda: kernel_trial.fused_layer_error(WIDTH), "problem", "instead")
        assert kernel_trial.loss_runs_here(1000, 1024)
