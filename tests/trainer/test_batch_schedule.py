"""The global batch of each step: its closed form is what counting gives, and its rules name the remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_recipe.batch_schedule import batch_size_at, ramp_problems, samples_before, total_samples
from megatron_recipe.config import BatchConfig, Config
from megatron_recipe.recipes import load_config


def ramp(first: int, rise: int, rises: int, steps: int) -> BatchConfig:
    return BatchConfig(
        global_batch_size_samples=first + rise * rises,
        ramp_up_from_samples=first,
        ramp_up_increment_samples=rise,
        ramp_up_steps=steps,
    )


@given(st.integers(1, 64), st.integers(1, 32), st.integers(1, 12), st.integers(0, 80), st.integers(0, 200))
def test_samples_before_a_step_are_the_sum_of_its_predecessors(first, rise, rises, more_steps, step):
    batch = ramp(first, rise, rises, rises + more_steps)
    assert samples_before(batch, step) == sum(batch_size_at(batch, one) for one in range(step))


@given(st.integers(1, 64), st.integers(1, 32), st.integers(1, 12), st.integers(0, 80))
def test_the_batch_rises_in_equal_stretches(first, rise, rises, more_steps):
    batch = ramp(first, rise, rises, rises + more_steps)
    sizes = [batch_size_at(batch, step) for step in range(batch.ramp_up_steps)]
    lengths = [sizes.count(first + level * rise) for level in range(rises)]
    assert sizes == sorted(sizes)
    assert sum(lengths) == len(sizes)  # no other sizes
    assert max(lengths) - min(lengths) <= 1
    assert batch_size_at(batch, batch.ramp_up_steps) == batch.global_batch_size_samples


def test_without_a_ramp_up_all_steps_are_alike():
    batch = BatchConfig(global_batch_size_samples=16, ramp_up_increment_samples=3, ramp_up_steps=9)
    assert [batch_size_at(batch, step) for step in (0, 5, 100)] == [16, 16, 16]
    assert samples_before(batch, 7) == 112


def configured(*overrides: str) -> Config:
    return load_config(
        "gpt_tiny_cpu",
        (
            "batch.global_batch_size_samples=64",
            "batch.micro_batch_size_samples=4",
            "batch.ramp_up_from_samples=16",
            "batch.ramp_up_increment_samples=16",
            "batch.ramp_up_steps=30",
            "train.steps=100",
            *overrides,
        ),
    )


def test_a_run_has_the_samples_of_its_ramp_up_and_of_the_rest():
    assert total_samples(configured()) == 10 * 16 + 10 * 32 + 10 * 48 + 70 * 64


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_ramp_up_that_fits_breaks_no_rule(world_size):
    assert list(ramp_problems(configured(), world_size)) == []
    assert list(ramp_problems(configured("batch.micro_batch_size_samples=auto"), world_size)) == []


@pytest.mark.parametrize(
    ("override", "world_size", "said"),
    [
        ("batch.ramp_up_from_samples=64", 1, "batch.ramp_up_from_samples=64 must be less than"),
        ("batch.ramp_up_increment_samples=20", 1, "batch.ramp_up_increment_samples=20 must divide"),
        ("batch.ramp_up_increment_samples=0", 1, "batch.ramp_up_increment_samples=0 must divide"),
        ("batch.ramp_up_steps=2", 1, "batch.ramp_up_steps=2 must be at least the number of rises, (64 - 16) / 16 = 3"),
        ("batch.ramp_up_steps=0", 1, "batch.ramp_up_steps=0 must be at least"),
        ("batch.ramp_up_steps=100", 1, "batch.ramp_up_steps=100 must be less than train.steps=100"),
        ("batch.micro_batch_size_samples=8", 4, "micro_batch_size_samples × the data-parallel ranks = 32; use 32"),
        ("batch.micro_batch_size_samples=auto", 64, "batch.ramp_up_from_samples=16 must be a multiple of the data-"),
    ],
)
def test_each_broken_rule_is_named(override, world_size, said):
    problems = list(ramp_problems(configured(override), world_size))
    assert any(said in problem and "; use " in problem for problem in problems), problems


def test_without_a_ramp_up_its_other_fields_break_no_rule():
    assert list(ramp_problems(configured("batch.ramp_up_from_samples=0", "batch.ramp_up_steps=0"), 64)) == []
