"""Time, money, disk and loss, by hand."""

import re

import pytest

from megatron_recipe.plan.cost import offers, rate
from megatron_recipe.plan.disk import checkpoint_bytes, estimate_disk
from megatron_recipe.plan.hardware import profile, profiles
from megatron_recipe.plan.loss_law import LAWS
from megatron_recipe.plan.plan import make_plan
from megatron_recipe.plan.speed import ASSUMED_MFU, Mfu, expected_mfu, tokens_per_second
from megatron_recipe.recipes import load_config


def mfu_of(recipe, card, recompute="none", stated=None):
    return expected_mfu(load_config(recipe), 32_000, profile(card), recompute, stated)


def test_mfu_is_stated_measured_or_assumed_in_this_order():
    assert mfu_of("gpt_1b", "h100_80") == Mfu(64.9, "measured")
    assert mfu_of("gpt_1b_fp8", "h100_80") == Mfu(85.5, "measured")
    assert mfu_of("gpt_1b", "h800_80") == Mfu(64.9, "measured"), "the same chip"
    assert mfu_of("gpt_3b", "h100_80") == Mfu(52.7, "measured")
    assert mfu_of("gpt_3b", "h200_141") == Mfu(66.7, "measured"), "on the card itself"
    assert mfu_of("gpt_7b", "h100_80", "full").percent == pytest.approx(48.8, abs=0.1)
    assert mfu_of("gpt_3b_fp8", "h100_80").origin == "assumed"
    assert mfu_of("gpt_1b", "a100_80") == Mfu(ASSUMED_MFU, "assumed")
    assert mfu_of("gpt_1b", "h100_80", stated=0.5) == mfu_of("gpt_1b", "h100_80", stated=50) == Mfu(50, "stated")


def test_full_recompute_is_a_forward_pass_more():
    assert mfu_of("gpt_1b", "h100_80", "full").percent == pytest.approx(64.9 * 3 / 4)
    assert mfu_of("gpt_1b", "h100_80", "full", stated=0.5).percent == 50


def test_tokens_per_second_by_hand():
    speed = tokens_per_second(load_config("gpt_1b"), 32_000, profile("a100_80"), Mfu(55, "stated"))
    flops = 6 * (1_038_682_112 - 67_584) + 12 * 16 * 2048 * 4096
    assert speed == pytest.approx(0.55 * 311.9e12 / flops)
    assert speed * 7 * 86_400 / 1e9 == pytest.approx(13.2, abs=0.1), "13B tokens in seven days"


def test_the_cost_of_a_run_by_hand():
    plan = make_plan(load_config("gpt_1b"), "gpt_1b", 32_000, profile("h100_80"), 8, mfu=0.5)
    line = next(one for one in plan.costs if (one.offer.platform, one.offer.gpu) == ("RunPod Secure", "h100_80"))
    assert line.offer.cny_per_hour == pytest.approx(3.99 * rate().cny_per_usd)
    gpu_hours = plan.tokens / plan.tokens_per_second / 3600
    assert line.cny == pytest.approx(gpu_hours * 3.99 * rate().cny_per_usd)
    assert line.cny_per_billion_tokens * plan.tokens / 1e9 == pytest.approx(line.cny)
    assert line.days == pytest.approx(gpu_hours / 24 / 8) == pytest.approx(plan.days)
    assert [one.cny for one in plan.costs] == sorted(one.cny for one in plan.costs)


def test_every_price_has_a_known_card_a_date_and_a_source():
    assert {"AutoDL", "PAI", "Lambda", "RunPod"} <= {offer.platform.split()[0] for offer in offers()}
    for offer in offers():
        assert offer.gpu in profiles() and offer.source
        assert re.fullmatch(r"20\d\d(-\d\d){0,2}", offer.date)
        assert 0.5 < offer.cny_per_hour < 100
    assert 5 < rate().cny_per_usd < 9
    assert any(not offer.checked for offer in offers()), "what could not be looked up is marked"


def test_disk_by_hand():
    config = load_config("gpt_1b", ("checkpoint.milestone_every_steps=2000", "checkpoint.milestone_weights_only=true"))
    disk = estimate_disk(config, 32_000, 8, 1e9)
    assert disk.tokens == 2e9 and estimate_disk(config, 70_000, 8, 1e9).tokens == 4e9
    assert disk.checkpoint == 14 * 1_038_682_112
    # three, the best, the one being written; nine milestones of 2 bytes a parameter
    assert disk.checkpoints == 5 * disk.checkpoint + 9 * 2 * 1_038_682_112
    assert disk.total == disk.text + disk.tokens + disk.checkpoints


def test_what_a_save_asks_of_the_disk_is_what_the_plan_says():
    config = load_config("gpt_7b_1gpu")
    alone = checkpoint_bytes(config, 32_000, 1)
    parameters = checkpoint_bytes(config, 32_000, 1, weights_only=True) / 2
    assert alone == 8 * parameters == estimate_disk(config, 32_000, 1, 1e9).checkpoint
    assert checkpoint_bytes(config, 32_000, 2) == 14 * parameters, "gathered from two ranks in FP32"
    momentum = load_config("gpt_1b", ("optimizer.kind=sgd",))
    assert checkpoint_bytes(momentum, 32_000, 1) == 10 * checkpoint_bytes(momentum, 32_000, 1, weights_only=True) / 2


def test_the_laws_of_loss():
    hoffmann, besiroglu = LAWS
    assert hoffmann.loss(70e9, 1.4e12) == pytest.approx(1.937, abs=0.002), "Chinchilla, by the formula"
    for law in LAWS:
        assert law.loss(1e9, 20e9) > law.loss(1e9, 40e9) > law.loss(2e9, 40e9) > law.irreducible
        # what gpt_1b_10b says of half the tokens
        assert law.loss(1.04e9, 10e9) - law.loss(1.04e9, 20e9) == pytest.approx(0.1, abs=0.02)
    # the second fit's point: 20 tokens a parameter are best for a fixed amount of computing
    computing = 6 * 1e9 * 20e9
    sizes = [1e9 * step / 100 for step in range(20, 500)]
    best = min(sizes, key=lambda size: besiroglu.loss(size, computing / 6 / size))
    assert 15 < computing / 6 / best**2 < 25
