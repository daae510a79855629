"""What CUDA and NCCL read once is set before a trainer touches either, and what the user has set stays."""

import os

import pytest

from megatron_recipe import train as trainer
from megatron_recipe.environment import TRAINING
from megatron_recipe.recipes import load_config


class Reached(Exception):
    """The first look at the card."""


def test_a_trainer_sets_what_is_not_set_before_it_looks_at_the_card(monkeypatch, tmp_path):
    for name in TRAINING:
        monkeypatch.setenv(name, "")  # so that it is taken back after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("NCCL_DEBUG", "INFO")

    def look(gpu):
        raise Reached

    monkeypatch.setattr(trainer, "hardware_here", look)
    with pytest.raises(Reached):
        trainer.train(load_config("gpt_tiny_cpu"), tmp_path / "run")
    assert {name: os.environ[name] for name in TRAINING} == {**TRAINING, "NCCL_DEBUG": "INFO"}
