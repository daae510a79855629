"""Loading a large optimizer into a small machine's memory is warned of before the kernel ends it."""

from types import SimpleNamespace

import pytest

from megatron_recipe import checkpoint
from megatron_recipe.recipes import load_config

VOCABULARY = 32_000


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the machine has, and eight ranks on it."""
    memory = SimpleNamespace(available=0)
    monkeypatch.setattr(checkpoint.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    return memory


def test_a_7b_on_eight_ranks_needs_hundreds_of_gigabytes(free):
    free.available = 600e9
    said = checkpoint.short_memory(load_config("gpt_7b"), VOCABULARY)
    assert said is not None and "600 GB are free" in said and "parallel.tensor" in said
    needed = checkpoint.host_state_bytes(load_config("gpt_7b"), VOCABULARY)
    assert 600e9 < needed < 800e9  # 12 bytes a parameter and rank
    split = checkpoint.host_state_bytes(load_config("gpt_7b", ("parallel.tensor=2",)), VOCABULARY)
    assert split == pytest.approx(needed / 2, rel=0.01)


def test_enough_memory_is_no_matter(free):
    free.available = 2_000e9
    assert checkpoint.short_memory(load_config("gpt_7b"), VOCABULARY) is None
