"""`auto` becomes numbers that fit, or a refusal that names what would do."""

from dataclasses import replace

import pytest

from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.kernels import planned
from megatron_recipe.plan import resolve as module
from megatron_recipe.plan.hardware import GIB, profile, profiles
from megatron_recipe.plan.memory import RECOMPUTE_LEVELS, estimate_memory
from megatron_recipe.plan.resolve import fits, largest_part, next_smaller, possible_micro_batches, resolve
from megatron_recipe.recipes import load_config, recipe_names

VOCABULARY = 32_000


def chosen(config: Config) -> tuple[int, str]:
    return config.batch.micro_batch, config.memory.recompute


def resolved(recipe: str, card: str, world_size: int = 1, *sets: str) -> tuple[int, str]:
    return chosen(resolve(load_config(recipe, sets), VOCABULARY, profile(card), world_size, recipe))


@pytest.mark.parametrize("world_size", [1, 8])
@pytest.mark.parametrize("card", profiles())
@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_fits_every_card_or_is_refused_with_a_remedy(recipe, card, world_size):
    config, hardware = load_config(recipe), profile(card)
    try:
        result = resolve(config, VOCABULARY, hardware, world_size, recipe)
    except ConfigError as error:
        assert any(
            f"{field}=" in str(error) for field in ("precision.fp8", "precision.dtype", "micro_batch_size_samples")
        )
        assert hardware.card in str(error) and "; " in str(error)
        return
    micro_batch, recompute = chosen(result)
    on_card = planned(config, hardware.capability)
    assert fits(estimate_memory(on_card, VOCABULARY, world_size, micro_batch, recompute), hardware)
    if config.batch.micro_batch_size_samples == "auto":  # else it is the user's, and validation's to refuse
        assert config.batch.global_batch_size_samples % (micro_batch * world_size) == 0


@pytest.mark.parametrize(
    ("recipe", "card", "world_size", "choice"),
    [
        ("gpt_1b", "a100_80", 1, (8, "none")),
        ("gpt_1b", "a100_40", 1, (2, "none")),
        ("gpt_1b", "4090_24", 1, (4, "full")),
        ("gpt_1b_fp8", "h100_80", 1, (8, "none")),
        ("gpt_3b", "h100_80", 1, (2, "none")),
        ("gpt_3b", "a100_80", 8, (4, "none")),
        ("gpt_3b", "a100_40", 8, (1, "none")),
        ("gpt_7b", "h100_80", 8, (1, "none")),
    ],
)
def test_what_the_recipes_comments_say(recipe, card, world_size, choice):
    assert resolved(recipe, card, world_size) == choice


def test_the_choice_is_the_largest_that_fits_with_the_least_recompute():
    hardware = profile("h100_80")
    config = planned(load_config("gpt_1b"), hardware.capability)
    micro_batch, _ = chosen(resolve(config, VOCABULARY, hardware, 1))
    assert fits(estimate_memory(config, VOCABULARY, 1, micro_batch, "none"), hardware)
    assert not fits(estimate_memory(config, VOCABULARY, 1, 2 * micro_batch, "none"), hardware)


def test_less_memory_never_gives_a_larger_choice():
    config, hardware, choices = load_config("gpt_1b"), profile("h100_80"), []
    for gib in range(80, 20, -2):
        capped = replace(hardware, memory_bytes=gib * GIB)
        try:
            choices.append(chosen(resolve(config, VOCABULARY, capped, 1)))
        except ConfigError:
            choices.append((0, "nothing"))
    levels = [*RECOMPUTE_LEVELS, "nothing"]
    assert [levels.index(level) for _, level in choices] == sorted(levels.index(level) for _, level in choices)
    plain = [micro_batch for micro_batch, level in choices if level == "none"]
    assert plain == sorted(plain, reverse=True) and len(set(choices)) > 4
    assert choices[-1] == (0, "nothing") or choices[-1][1] == "full"


def test_numbers_that_are_set_stay():
    given = ("batch.micro_batch_size_samples=32", "memory.recompute=full")
    assert resolved("gpt_1b", "4090_24", 1, *given) == (32, "full")
    assert resolved("gpt_1b", "a100_40", 1, "batch.micro_batch_size_samples=4") == (4, "selective")
    assert resolved("gpt_1b", "a100_40", 1, "memory.recompute=full") == (16, "full")


def test_the_micro_batch_divides_ramp_up_and_leaves_room_for_validation():
    ramp = ("batch.ramp_up_from_samples=36", "batch.ramp_up_increment_samples=4", "batch.ramp_up_steps=10")
    assert possible_micro_batches(load_config("gpt_1b", ramp), 1) == [4, 2, 1]
    assert possible_micro_batches(load_config("gpt_1b", ramp), 4) == [1]
    assert possible_micro_batches(load_config("gpt_1b", ("train.validation_samples=24",)), 8) == [2, 1]
    assert max(possible_micro_batches(load_config("gpt_1b", ("train.validation_samples=0",)), 1)) == 256
    interleaved = ("parallel.pipeline=4", "parallel.virtual_stages=2", "batch.global_batch_size_samples=32")
    assert possible_micro_batches(load_config("gpt_1b", interleaved), 4) == [8, 4, 2, 1]


def test_a_batch_that_the_ranks_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"global_batch_size_samples=256 must be a multiple .* 3, .* change these"):
        resolved("gpt_1b", "h100_80", 3)


def test_on_a_cpu_small_numbers_are_taken():
    assert chosen(resolve(load_config("gpt_100m"), VOCABULARY, None, 1)) == (8, "none")
    assert chosen(resolve(load_config("gpt_100m"), VOCABULARY, None, 32)) == (4, "none")
    assert chosen(resolve(load_config("gpt_tiny_cpu"), VOCABULARY, None, 1)) == (8, "none")


@pytest.mark.parametrize(
    ("recipe", "sets", "capability", "said"),
    [
        ("gpt_1b_fp8", (), (8, 0), r"precision\.fp8=delayed needs .* 8\.9 .* has 8\.0; use the recipe gpt_1b,"),
        ("gpt_1b", ("precision.fp8=tensorwise",), (8, 6), r"precision\.fp8=tensorwise .* has 8\.6; use BF16"),
        (
            "gpt_1b",
            ("precision.fp8=blockwise",),
            (8, 9),
            r"blockwise needs capability 9\.0 .* set precision\.fp8=delayed",
        ),
        ("gpt_1b", (), (7, 5), r"precision\.dtype=bf16 needs .* has 7\.5; set precision\.dtype=fp16"),
    ],
)
def test_precision_that_the_card_lacks_is_refused(recipe, sets, capability, said):
    """With the capability faked on a card that has everything else."""
    card = replace(profile("h100_80"), capability=capability)
    with pytest.raises(ConfigError, match=said):
        resolve(load_config(recipe, sets), VOCABULARY, card, 1, recipe)


def test_fp16_runs_on_old_cards():
    assert resolved("gpt_100m", "v100_32", 1, "precision.dtype=fp16")[1] == "none"


def test_what_does_not_fit_is_refused_with_remedies_that_do():
    with pytest.raises(ConfigError) as caught:
        resolved("gpt_7b", "h100_80", 1)
    message = str(caught.value)
    assert "batch.micro_batch_size_samples=1 with memory.recompute=full needs" in message
    assert "optimizer, and NVIDIA H100 80 GB SXM has 79.1" in message
    assert "train on 4 GPUs" in message and "parallel.tensor=2 and parallel.sequence_parallel=true on 2" in message
    assert "set optimizer.states=bf16 and precision.gradients=bf16" in message
    assert resolved("gpt_7b", "h100_80", 4)[0] >= 1
    assert resolved("gpt_7b", "h100_80", 1, "optimizer.states=bf16", "precision.gradients=bf16")[0] >= 1
    assert resolved("gpt_7b", "h100_80", 2, "parallel.tensor=2", "parallel.sequence_parallel=true")[0] >= 1
    with pytest.raises(ConfigError, match=r"set memory\.recompute=auto"):
        resolved("gpt_1b", "4090_24", 1, "memory.recompute=none")
    with pytest.raises(ConfigError, match=r"set batch\.micro_batch_size_samples=auto"):
        resolved("gpt_1b", "4090_24", 1, "batch.micro_batch_size_samples=128")


def test_after_an_out_of_memory_each_answer_is_smaller_until_none_is_left():
    config = resolve(load_config("gpt_1b"), VOCABULARY, profile("h100_80"), 1)
    tried, needs = [], []
    while config is not None and len(tried) < 10:
        tried.append(chosen(config))
        needs.append(estimate_memory(config, VOCABULARY, 1, *chosen(config)).allocated)
        config = next_smaller(config, VOCABULARY, 1)
    assert tried == [(8, "none"), (4, "none"), (2, "none"), (1, "none"), (1, "selective"), (1, "full")]
    assert needs == sorted(set(needs), reverse=True)


def test_the_largest_part_is_named():
    config = load_config("gpt_1b")
    assert largest_part(resolve(config, VOCABULARY, profile("h100_80"), 1), VOCABULARY, 1)[0] == "activations"
    name, size = largest_part(resolve(config, VOCABULARY, profile("4090_24"), 1), VOCABULARY, 1)
    assert (name, size) == ("optimizer", 12 * 1_038_682_112)


def test_a_micro_batch_is_not_larger_than_useful():
    length = load_config("gpt_100m").model.sequence_length_tokens
    assert resolved(
        "gpt_100m", "h200_141", 1, "batch.global_batch_size_samples=4096", "train.validation_samples=0"
    ) == (
        module.ENOUGH_TOKENS // length,
        "none",
    )


def test_seven_billion_on_cards_of_40_gb_takes_tensor_parallelism():
    split = ("parallel.tensor=2", "parallel.sequence_parallel=true")
    assert resolved("gpt_7b", "a100_40", 8, *split)[1] in RECOMPUTE_LEVELS
    assert resolved("gpt_7b", "h200_141", 1)[1] == "full"
    with pytest.raises(ConfigError, match=r"set parallel\.tensor=2"):
        resolved("gpt_7b", "a100_40", 8)
