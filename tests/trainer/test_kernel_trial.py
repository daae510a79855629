"""Packages of kernels that are there and do not work: the run goes on without them, and says why, once."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch

from megatron_recipe import kernel_trial
from megatron_recipe.kernel_trial import FLASH_ATTENTION, LARGEST_ERROR, QUACK, runs_here
from megatron_recipe.kernels import choose
from megatron_recipe.recipes import load_config

HOPPER = (9, 0)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], float]], list[str]]:
    """Let both packages be there, with `trial` in the place of theirs; gives the names of those that were tried."""
    monkeypatch.setattr(kernel_trial, "is_installed", lambda package: True)
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    monkeypatch.delenv("RANK", raising=False)
    kernel_trial._failure.cache_clear()
    names: list[str] = []

    def with_trial(trial: Callable[[], float]) -> list[str]:
        for name in ("quack_error", "flash_attention_error"):
            monkeypatch.setattr(kernel_trial, name, lambda name=name: names.append(name) or trial())
        return names

    yield with_trial
    kernel_trial._failure.cache_clear()


def fails() -> float:
    raise TypeError("epilogue fn depends on\n a ContextVar")


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (fails, "TypeError: epilogue fn depends on a ContextVar"),
        (lambda: 0.4, "it computes wrong numbers, 40% off"),
        (lambda: float("nan"), "it computes wrong numbers, nan% off"),
    ],
)
def test_kernels_that_fail_are_left_out_and_said_once(tried, capsys, trial, reason):
    names = tried(trial)
    for _ in range(2):  # the plan asks, and then the model
        chosen = choose(load_config("gpt_1b"), HOPPER, runs_here)
        assert (chosen.layer, chosen.attention) == ("engine", "auto")
    assert names == ["quack_error", "flash_attention_error"]
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{QUACK} is installed, but its kernels cannot be used here ({reason}); Transformer Engine's layers take their "
        "place, 3 % slower; set kernels.layer=engine to try no more",
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


@pytest.mark.parametrize(
    ("sets", "card"),
    [
        (("kernels.layer=fused", "kernels.attention=flash"), HOPPER),  # who asks for them is told how they fail
        (("kernels.layer=engine", "kernels.attention=cudnn"), HOPPER),
        (("parallel.tensor=2", "parallel.context=2"), HOPPER),
        ((), (8, 0)),
    ],
)
def test_nothing_is_tried_that_would_not_be_taken(tried, sets, card):
    names = tried(fails)
    choose(load_config("gpt_1b", sets), card, runs_here)
    assert names == []
