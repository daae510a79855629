"""A run on a budget: how it is asked for, and the share that is spent as the schedule's clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_recipe.budget import (
    MOST_KEPT_BACK,
    UNKNOWN_CLOSING,
    BudgetClock,
    budget_problems,
    budget_seconds,
    is_clocked,
    parse_budget,
    parse_price,
    steps_of_tokens,
)
from megatron_recipe.config import BudgetConfig, Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config
from megatron_recipe.train_command import with_steps_of_budget


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("3000cny", 3000, "cny"),
        ("3,000 CNY", 3000, "cny"),
        ("2_500rmb", 2500, "cny"),
        ("99.5元", 99.5, "cny"),
        ("20¥", 20, "cny"),
        ("7yuan", 7, "cny"),
        ("400usd", 400, "usd"),
        ("400$", 400, "usd"),
        ("40h", 40, "hours"),
        ("1hour", 1, "hours"),
        (" 2.5 hours ", 2.5, "hours"),
        ("90s", 90, "seconds"),
        ("90seconds", 90, "seconds"),
        ("20e9tokens", 20e9, "tokens"),
        ("2.5E9T", 2.5e9, "tokens"),
    ],
)
def test_a_budget_is_an_amount_and_a_unit(text, amount, unit):
    assert parse_budget(text) == {"amount": amount, "unit": unit}


@pytest.mark.parametrize(
    "text",
    ["", "3apples", "cny", "3000", "-5h", "0h", "0.0cny", "1.2.3h", "h40", "4 0h", "5m", "1e999h", "nan h", "40h 5s"],
)
def test_another_budget_is_refused_with_an_example(text):
    with pytest.raises(ConfigError) as caught:
        parse_budget(text)
    assert str(caught.value).startswith(f"--budget {text}: write amount and unit, for example 3000cny")


@pytest.mark.parametrize(
    ("text", "price", "currency"),
    [
        ("5/h", 5, "cny"),
        ("5cny/h", 5, "cny"),
        ("¥5.5/hour", 5.5, "cny"),
        ("12元 / h", 12, "cny"),
        (".5rmb/h", 0.5, "cny"),
        ("2.5usd/h", 2.5, "usd"),
        ("2.5 USD/h", 2.5, "usd"),
        ("$2.5/h", 2.5, "usd"),
    ],
)
def test_a_price_is_for_an_hour(text, price, currency):
    assert parse_price(text) == {"price_per_hour": price, "currency": currency}


@pytest.mark.parametrize("text", ["", "5", "5/d", "/h", "./h", "1.2.3/h", "-5/h", "0/h", "5eur/h", "free/h"])
def test_another_price_is_refused_with_an_example(text):
    with pytest.raises(ConfigError) as caught:
        parse_price(text)
    assert str(caught.value).startswith(f"--price {text}: write what the machine costs an hour, for example 5/h")


@pytest.mark.parametrize(
    ("unit", "amount", "seconds"), [("seconds", 90, 90), ("hours", 2, 7200), ("cny", 10, 7200), ("usd", 2.5, 1800)]
)
def test_a_budget_is_a_time_on_this_machine(unit, amount, seconds):
    budget = BudgetConfig(amount=amount, unit=unit, price_per_hour=5.0)
    assert is_clocked(budget)
    assert budget_seconds(budget) == seconds


def test_no_budget_and_a_budget_of_tokens_have_no_clock():
    assert not is_clocked(BudgetConfig())
    assert not is_clocked(BudgetConfig(amount=1e9, unit="tokens"))


class Spent:
    """Stands for a Spending: so much time and money, and what closing takes."""

    def __init__(self, seconds: float = 0.0, money: float | None = None, closing: float | None = None) -> None:
        self.used, self.paid, self.closing_seconds = seconds, money, closing

    def seconds(self) -> float:
        return self.used

    def money(self) -> float | None:
        return self.paid


def clock(spent: Spent, amount: float = 1000.0, unit: str = "seconds", price: float = 5.0) -> BudgetClock:
    return BudgetClock(BudgetConfig(amount=amount, unit=unit, price_per_hour=price), spent)  # type: ignore[arg-type]


def test_money_is_spent_at_the_price_of_each_instance():
    # 100 seconds of this machine would be 0.14: what was paid counts, not what it would cost now
    assert clock(Spent(100.0, money=6.0), amount=10.0, unit="cny").spent() == 0.6
    assert clock(Spent(100.0, money=None), amount=10.0, unit="cny").spent() == 0.0


def test_time_is_spent_whatever_it_costs():
    assert clock(Spent(360.0, money=6.0), amount=1.0, unit="hours").spent() == 0.1


def test_a_validation_a_save_and_a_step_are_kept_back():
    # 1000 seconds, of which 30 close the run and 20 are a step: the run ends at 950
    spent = Spent(475.0, closing=30.0)
    assert clock(spent).share(20.0) == pytest.approx(0.5)
    spent.used = 949.0
    assert clock(spent).share(20.0) < 1
    spent.used = 950.0
    assert clock(spent).share(20.0) == pytest.approx(1.0)
    spent.used = 5000.0
    assert clock(spent).share(20.0) == 1.0


def test_before_it_was_measured_a_hundredth_is_kept_back_for_closing():
    assert clock(Spent(495.0)).share(0.0) == pytest.approx(495.0 / (1000.0 * (1 - UNKNOWN_CLOSING)))
    assert clock(Spent(495.0, closing=0.0)).share(0.0) == pytest.approx(0.495)


def test_at_most_a_tenth_is_kept_back():
    assert clock(Spent(450.0, closing=800.0)).share(100.0) == pytest.approx(450.0 / (1000.0 * (1 - MOST_KEPT_BACK)))


def test_what_is_kept_back_is_a_share_of_money_too():
    # 10 CNY at 5 an hour are 7,200 seconds; 360 of them are 5 %
    assert clock(Spent(money=4.75, closing=300.0), amount=10.0, unit="cny").share(60.0) == pytest.approx(0.5)


@given(
    amount=st.floats(1.0, 1e7),
    closing=st.none() | st.floats(0.0, 1e6),
    step_seconds=st.floats(0.0, 1e4),
    moments=st.lists(st.floats(0.0, 1.5), min_size=2, max_size=20),
)
def test_the_share_rises_from_nothing_to_one_within_the_budget(amount, closing, step_seconds, moments):
    spent = Spent(closing=closing)
    ticking = clock(spent, amount)
    shares = []
    for moment in sorted([0.0, *moments, 1.0]):
        spent.used = moment * amount
        shares.append(ticking.share(step_seconds))
        assert moment < 1 - MOST_KEPT_BACK - 1e-9 or moment < 1 or shares[-1] == 1.0
        assert shares[-1] >= min(moment, 1.0) * (1 - 1e-12)  # the run ends in time; the division rounds
        assert shares[-1] * (1 - MOST_KEPT_BACK) <= moment + 1e-9  # and not a tenth too early
    assert shares == sorted(shares)
    assert shares[0] == 0.0 and shares[-1] == 1.0


def test_it_warns_once_when_four_fifths_are_spent():
    spent = Spent()
    ticking = clock(spent)
    warnings = []
    for used in (0.0, 799.0, 800.0, 850.0, 1200.0):
        spent.used = used
        warnings.append(ticking.should_warn())
    assert warnings == [False, False, True, False, False]


def configured(*overrides: str) -> Config:
    return load_config("gpt_tiny_cpu", overrides)


STEP_TOKENS = 16 * 256


@pytest.mark.parametrize(("amount", "steps"), [(STEP_TOKENS * 10, 10), (STEP_TOKENS * 11 - 1, 10), (STEP_TOKENS, 1)])
def test_a_budget_of_tokens_is_a_number_of_steps(amount, steps):
    config = configured(f"budget.amount={amount}", "budget.unit=tokens")
    assert steps_of_tokens(config) == steps
    assert with_steps_of_budget(config).train.steps == steps
    assert budget_problems(config) == []


def test_the_steps_of_a_budget_change_nothing_else():
    config = configured(f"budget.amount={STEP_TOKENS * 10}", "budget.unit=tokens")
    changed = with_steps_of_budget(config)
    assert changed.model_copy(update={"train": config.train}) == config
    assert changed.train.model_copy(update={"steps": config.train.steps}) == config.train


@pytest.mark.parametrize("overrides", [(), ("budget.amount=3", "budget.unit=hours"), ("budget.price_per_hour=3",)])
def test_the_steps_stay_without_a_budget_of_tokens(overrides):
    config = configured(*overrides)
    assert with_steps_of_budget(config) is config


def test_a_budget_of_less_than_a_step_is_refused():
    config = configured(f"budget.amount={STEP_TOKENS - 1}", "budget.unit=tokens")
    assert with_steps_of_budget(config).train.steps == 1  # so that the rule, and not pydantic, is what is heard
    (problem,) = budget_problems(config)
    assert "budget.amount=4095 tokens is less than one step of 4,096" in problem


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("budget.unit=cny",), "budget.price_per_hour"),
        (("budget.unit=usd", "budget.currency=usd"), "needs budget.price_per_hour"),
        (("budget.unit=usd", "budget.price_per_hour=2"), "budget.unit=usd and budget.currency=cny must be the same"),
        (("budget.unit=hours", "schedule.decay=constant"), "use schedule.decay=wsd"),
    ],
)
def test_a_budget_that_cannot_end_a_run_is_refused(overrides, said):
    (problem,) = budget_problems(configured("budget.amount=10", *overrides))
    assert said in problem


@pytest.mark.parametrize(
    "overrides",
    [
        ("schedule.decay=constant", "budget.unit=usd"),
        ("budget.amount=10", "budget.unit=hours", "budget.currency=usd"),
        ("budget.amount=10", "budget.price_per_hour=5"),
        ("budget.amount=10", "budget.unit=usd", "budget.price_per_hour=5", "budget.currency=usd"),
        ("budget.amount=1e6", "budget.unit=tokens", "schedule.decay=constant"),
    ],
)
def test_a_budget_that_can_end_a_run_is_not(overrides):
    assert budget_problems(configured(*overrides)) == []
