"""The guard: what is a spike, what is not, and what is done about it."""

import math
import random
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_recipe.config import StabilityConfig
from megatron_recipe.run_state import RunState
from megatron_recipe.stability import SKIPS_IN_A_ROW, Guard, Verdict, robust_deviations

WINDOW = 32
ACTIONS = ("log", "skip", "rollback", "stop")
NOT_A_NUMBER = (math.nan, math.inf, -math.inf)


def configured(**changes: object) -> StabilityConfig:
    return StabilityConfig.model_validate({"window_steps": WINDOW, **changes})


def noise(steps: int, seed: int = 0) -> list[tuple[float, float]]:
    """Losses around 3 and gradient norms around 1."""
    generator = random.Random(seed)
    return [(generator.gauss(3.0, 0.05), generator.gauss(1.0, 0.1)) for _ in range(steps)]


def filled(config: StabilityConfig, steps: int = WINDOW) -> tuple[Guard, RunState]:
    """A guard that has seen ordinary steps."""
    guard, state = Guard(config), RunState()
    for loss, grad_norm in noise(steps):
        assert guard.judge(state, loss, grad_norm) == Verdict("go")
    return guard, state


def test_robust_deviations_are_those_of_the_formula():
    # median 3, absolute deviations 2 1 0 1 97, their median 1
    middle, deviations = robust_deviations([1.0, 2.0, 3.0, 4.0, 100.0], 10.0)
    assert middle == 3.0
    assert deviations == pytest.approx(7 / 1.4826)


def test_a_norm_is_ordinary_up_to_three_times_the_median_however_calm_the_run():
    guard, state = Guard(configured()), RunState()
    for number in range(WINDOW):
        assert guard.judge(state, 3.0, 0.42 + 0.001 * (number % 3)) == Verdict("go")
    assert guard.judge(state, 3.0, 1.2).action == "go"
    spike = guard.judge(state, 3.0, 1.3)
    assert (spike.action, spike.quantity) == ("skip", "grad_norm") and 20 < spike.deviations < 21


def test_what_lies_below_the_median_is_no_spike():
    assert robust_deviations([1.0, 2.0, 3.0, 4.0, 5.0], -50.0)[1] < 0
    guard, state = filled(configured())
    assert guard.judge(state, -1000.0, 0.0) == Verdict("go")


def test_a_spike_in_the_window_hardly_widens_the_measure():
    window = [loss for loss, _ in noise(WINDOW)]
    _, before = robust_deviations(window, 4.0)
    _, after = robust_deviations([*window[1:], 1000.0], 4.0)
    assert after == pytest.approx(before, rel=0.3)


def test_nothing_is_judged_before_a_quarter_of_the_window_is_full():
    guard, state = filled(configured(), WINDOW // 4 - 1)
    assert guard.judge(state, 1000.0, 1000.0) == Verdict("go")
    guard, state = filled(configured(), WINDOW // 4)
    assert guard.judge(state, 1000.0, 1.0).action == "rollback"


def test_the_window_keeps_the_last_values_alone():
    guard, state = filled(configured(), WINDOW)
    for number in range(5):
        guard.judge(state, 3.0 + number / 1000, 1.0 + number / 1000)
    assert len(state.losses) == len(state.grad_norms) == WINDOW
    assert state.losses[-5:] == [3.0, 3.001, 3.002, 3.003, 3.004]
    assert state.grad_norms[-5:] == [1.0, 1.001, 1.002, 1.003, 1.004]
    assert state.losses[0] == noise(WINDOW)[5][0]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_spike_of_the_loss_gets_the_configured_action(action):
    guard, state = filled(configured(on_loss_spike=action, on_grad_spike="log"))
    window = list(state.losses)
    middle, deviations = robust_deviations(window, 5.0)
    assert guard.judge(state, 5.0, 1.0) == Verdict(action, "loss", 5.0, middle, deviations)
    assert middle == median(window) and deviations > 8


@pytest.mark.parametrize("action", ACTIONS)
def test_a_spike_of_the_gradient_gets_the_configured_action(action):
    guard, state = filled(configured(on_grad_spike=action))
    middle, deviations = robust_deviations(list(state.grad_norms), 9.0)
    assert guard.judge(state, 3.0, 9.0) == Verdict(action, "grad_norm", 9.0, middle, deviations)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("value", NOT_A_NUMBER)
@pytest.mark.parametrize("place", ["loss", "grad_norm"])
def test_what_is_not_a_number_gets_the_configured_action_also_at_the_first_step(action, value, place):
    guard, state = Guard(configured(on_nan=action)), RunState()
    values = {"loss": 3.0, "grad_norm": 1.0, place: value}
    verdict = guard.judge(state, **values)
    assert (verdict.action, verdict.quantity, repr(verdict.value)) == (action, "nan", repr(value))
    assert state.losses == state.grad_norms == []  # whatever the action: it would spoil the median


def test_the_loss_is_named_where_both_jump():
    guard, state = filled(configured())
    assert guard.judge(state, 100.0, 100.0).quantity == "loss"


@pytest.mark.parametrize(("action", "joins"), [("log", True), ("skip", False), ("rollback", False), ("stop", False)])
def test_only_values_that_the_weights_took_join_the_window(action, joins):
    guard, state = filled(configured(on_loss_spike=action), WINDOW - 1)
    verdict = guard.judge(state, 5.0, 1.5)
    assert verdict.action == action and verdict.updates is joins
    assert (5.0 in state.losses) is (1.5 in state.grad_norms) is joins


@pytest.mark.parametrize(("deviations", "quantity"), [(9.99, None), (10.01, "loss")])
def test_what_lies_within_the_limit_is_no_spike(deviations, quantity):
    state = RunState(losses=[2.0, 4.0] * 16, grad_norms=[1.0, 1.1] * 16)  # median 3, median absolute deviation 1
    guard = Guard(configured(loss_spike_deviations=10.0))
    assert guard.judge(state, 3.0 + deviations * 1.4826, 1.05).quantity == quantity


def test_on_a_plateau_a_jump_by_a_thousandth_is_no_spike():
    config = configured()
    guard, state = Guard(config), RunState(losses=[3.0] * WINDOW, grad_norms=[1.0] * WINDOW)
    assert guard.judge(state, 3.0 * 1.001, 1.001) == Verdict("go")
    assert guard.judge(state, 3.0 * 1.1, 1.0).quantity == "loss"


def test_a_window_of_zeros_divides_by_nothing():
    state = RunState(losses=[0.0] * WINDOW, grad_norms=[0.0] * WINDOW)
    assert Guard(configured()).judge(state, 0.0, 0.0) == Verdict("go")


def test_skips_in_a_row_end_in_a_rollback_and_are_counted_anew():
    guard, state = filled(configured(on_grad_spike="skip"))
    for _ in range(2):
        actions = [guard.judge(state, 3.0, 50.0).action for _ in range(SKIPS_IN_A_ROW + 1)]
        assert actions == ["skip"] * SKIPS_IN_A_ROW + ["rollback"]


def test_the_rollback_after_skips_says_the_same_as_the_skips():
    guard, state = filled(configured(on_grad_spike="skip"))
    verdicts = [guard.judge(state, 3.0, 50.0) for _ in range(SKIPS_IN_A_ROW + 1)]
    assert verdicts[-1] == replace(verdicts[0], action="rollback")


def test_an_ordinary_step_between_skips_begins_the_count_anew():
    guard, state = filled(configured(on_grad_spike="skip"))
    for _ in range(3):
        assert {guard.judge(state, 3.0, 50.0).action for _ in range(SKIPS_IN_A_ROW)} == {"skip"}
        assert guard.judge(state, 3.0, 1.0).action == "go"


def test_a_restored_state_judges_as_the_first_would_have():
    config = configured()
    guard, state = filled(config)
    restored = RunState()
    restored.load_state_dict(state.state_dict())
    other = Guard(config)
    for loss, grad_norm in [*noise(40, seed=1), (3.4, 1.0), (3.0, 4.0), (5.0, 1.0), (3.0, 30.0), (math.nan, 1.0)]:
        # by their texts: a NaN is not equal to itself
        assert repr(guard.judge(state, loss, grad_norm)) == repr(other.judge(restored, loss, grad_norm))
    assert state == restored


def test_the_words_name_what_jumped_and_how_far():
    assert Verdict("skip", "grad_norm", 12.345678, 1.0, 33.333).words() == (
        "gradient norm 12.35, 33.3 deviations above the median 1"
    )
    assert Verdict("log", "loss", 5.0, 3.0, 9.0).words() == "loss 5, 9.0 deviations above the median 3"
    assert Verdict("stop", "nan", math.inf).words() == "the loss or the gradient is inf"


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    spread=st.floats(0.001, 0.3),
    fall=st.floats(0.0, 2.0),
    grad_spread=st.floats(0.01, 0.3),
)
def test_ordinary_noise_on_a_falling_curve_is_no_spike_at_the_defaults(seed, spread, fall, grad_spread):
    generator = random.Random(seed)
    guard, state = Guard(StabilityConfig()), RunState()
    steps = 300
    for step in range(steps):
        loss = 4.0 + fall * (1 - step / steps) ** 3 + generator.gauss(0, spread)
        grad_norm = math.exp(generator.gauss(0, grad_spread))  # skewed, as gradient norms are
        assert guard.judge(state, loss, grad_norm) == Verdict("go")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    middle=st.floats(0.5, 12.0),
    spread=st.floats(0.001, 0.5),
    steps=st.integers(StabilityConfig().window_steps // 4, 300),
)
def test_a_jump_of_twelve_deviations_is_always_a_spike(seed, middle, spread, steps):
    generator = random.Random(seed)
    guard, state = Guard(StabilityConfig()), RunState()
    for _ in range(steps):
        guard.judge(state, middle + generator.gauss(0, spread), 1 + abs(generator.gauss(0, 0.1)))
    now, deviations = robust_deviations(state.losses, middle)
    measure = max(1.4826 * median(abs(loss - now) for loss in state.losses), 1e-3 * abs(now))
    verdict = guard.judge(state, now + 12 * measure, 1.0)
    assert abs(deviations) < 8
    assert (verdict.action, verdict.quantity) == ("rollback", "loss")
    assert verdict.deviations == pytest.approx(12)
