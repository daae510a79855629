"""The card of a rank, faked: what is chosen for it, what it is refused, and how its memory is capped."""

from types import SimpleNamespace

import pytest
import torch

from megatron_recipe.errors import ConfigError
from megatron_recipe.plan.hardware import GIB, profile
from megatron_recipe.recipes import load_config
from megatron_recipe.this_machine import choose, hardware_here

VOCABULARY = 32_000


class Cards:
    """What torch.cuda says, and what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cards: dict[int, SimpleNamespace] = {}
        self.caps: list[tuple[float, int]] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(self.cards))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: self.cards[index])
        monkeypatch.setattr(
            torch.cuda, "set_per_process_memory_fraction", lambda share, index: self.caps.append((share, index))
        )

    def put(self, name: str, gib: float, capability: tuple[int, int], index: int = 0) -> None:
        major, minor = capability
        self.cards[index] = SimpleNamespace(name=name, total_memory=int(gib * GIB), major=major, minor=minor)


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    for name in ("LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)
    return Cards(monkeypatch)


def test_a_cpu_has_no_card(cards):
    assert hardware_here() is None


def test_a_card_of_the_table_is_known_by_its_name_with_its_own_memory(cards):
    cards.put("NVIDIA H100 80GB HBM3", 70.0, (9, 0))
    hardware = hardware_here()
    assert (hardware.name, hardware.memory_bytes) == ("h100_80", 70 * GIB)
    assert cards.caps == []


def test_a_card_that_the_table_lacks_has_its_memory_and_capability(cards):
    cards.put("Vendor X9", 48.0, (7, 5))
    hardware = hardware_here()
    assert (hardware.card, hardware.memory_bytes, hardware.capability) == ("Vendor X9", 48 * GIB, (7, 5))


def test_the_capability_is_the_one_that_cuda_reports(cards):
    cards.put("NVIDIA H100 80GB HBM3", 79.1, (8, 0))
    assert not hardware_here().has_fp8


def test_each_rank_looks_at_its_own_card(cards, monkeypatch):
    cards.put("NVIDIA H100 80GB HBM3", 79.1, (9, 0), index=0)
    cards.put("Vendor X9", 48.0, (7, 5), index=3)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert hardware_here().card == "Vendor X9"
    hardware_here("4090_24")
    assert [index for _, index in cards.caps] == [3]


def test_as_if_for_a_smaller_card_caps_the_memory_to_its(cards):
    cards.put("NVIDIA H100 80GB HBM3", 79.1, (9, 0))
    assert hardware_here("a100_40") == profile("a100_40")
    assert cards.caps == [(pytest.approx(39.4 / 79.1), 0)]


def test_as_if_for_a_larger_card_leaves_all_of_it(cards):
    cards.put("NVIDIA GeForce RTX 4090", 23.5, (8, 9))
    hardware_here("h100_80")
    assert cards.caps == [(1.0, 0)]


@pytest.mark.parametrize("on_gpu", [False, True])
def test_an_unknown_card_is_refused_with_those_that_are_known(cards, on_gpu):
    if on_gpu:
        cards.put("NVIDIA H100 80GB HBM3", 79.1, (9, 0))
    with pytest.raises(ConfigError, match=r"--gpu h1000: unknown card \(did you mean .*known: a100_40"):
        hardware_here("h1000")
    assert cards.caps == []


def chosen(recipe: str, as_if: str | None = None, *overrides: str) -> tuple[int, str]:
    config = choose(load_config(recipe, overrides), VOCABULARY, 1, recipe, hardware_here(as_if))
    return config.batch.micro_batch, config.memory.recompute


@pytest.mark.parametrize(
    ("as_if", "choice"),
    [(None, (8, "none")), ("a100_80", (8, "none")), ("a100_40", (2, "none")), ("4090_24", (4, "full"))],
)
def test_the_micro_batch_is_chosen_for_the_card_and_said(cards, capsys, as_if, choice):
    cards.put("NVIDIA H100 80GB HBM3", 79.1, (9, 0))
    assert chosen("gpt_1b", as_if) == choice
    card = profile(as_if or "h100_80").card
    assert capsys.readouterr().err == f"for {card}: micro-batch {choice[0]}, recompute {choice[1]}\n"


def test_only_the_first_rank_says_it(cards, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    cards.put("NVIDIA H100 80GB HBM3", 79.1, (9, 0))
    chosen("gpt_1b")
    assert capsys.readouterr().err == ""


def test_numbers_that_are_set_stay_and_are_not_said_again(cards, capsys):
    cards.put("NVIDIA H100 80GB HBM3", 79.1, (9, 0))
    assert chosen("gpt_1b", None, "batch.micro_batch_size_samples=2", "memory.recompute=full") == (2, "full")
    assert capsys.readouterr().err == ""


def test_on_a_cpu_a_small_micro_batch_is_taken_whatever_the_card_asked_for(cards, capsys):
    assert chosen("gpt_100m", "a100_40", "precision.dtype=fp32") == (8, "none")
    assert chosen("gpt_100m", None, "precision.dtype=fp32") == (8, "none")
    assert capsys.readouterr().err.endswith("for the CPU: micro-batch 8, recompute none\n")


@pytest.mark.parametrize("as_if", [None, "a100_80"])
def test_fp8_on_a_card_without_it_is_refused_by_naming_the_bf16_recipe(cards, as_if):
    cards.put("NVIDIA A100-SXM4-80GB", 79.1, (8, 0))
    with pytest.raises(ConfigError) as caught:
        chosen("gpt_1b_fp8", as_if)
    for part in ("precision.fp8=", "NVIDIA A100 80 GB has 8.0", "use the recipe gpt_1b, or set precision.fp8=off"):
        assert part in str(caught.value)


def test_fp8_is_refused_on_a_capable_card_that_plays_one_without_it(cards):
    cards.put("NVIDIA H100 80GB HBM3", 79.1, (9, 0))
    assert chosen("gpt_1b_fp8") == (8, "none")
    with pytest.raises(ConfigError, match="use the recipe gpt_1b"):
        chosen("gpt_1b_fp8", "a100_80")


def test_bf16_on_a_card_without_it_is_refused_by_naming_fp16(cards):
    cards.put("Tesla V100-SXM2-32GB", 31.7, (7, 0))
    with pytest.raises(ConfigError, match=r"precision\.dtype=bf16 needs .*has 7\.0; set precision\.dtype=fp16"):
        chosen("gpt_100m")


def test_what_fits_on_no_way_is_refused_with_remedies(cards):
    cards.put("NVIDIA GeForce RTX 4090", 23.5, (8, 9))
    with pytest.raises(ConfigError, match=r"needs .* GiB on the GPU.*train on \d+ GPUs"):
        chosen("gpt_3b")
