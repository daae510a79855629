"""Short options of `train`: each becomes overrides that the recipe accepts, or one message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_recipe.config import BudgetConfig, Config, SampleRange
from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config
from megatron_recipe.train_options import overrides_of, parse_duration, parse_range


def configured(
    budget: str | None = None,
    price: str | None = None,
    time_limit: str | None = None,
    skip_samples: tuple[str, ...] = (),
    profile: str | None = None,
) -> Config:
    return load_config("gpt_tiny_cpu", tuple(overrides_of(budget, price, time_limit, list(skip_samples), profile)))


def test_no_option_is_no_override():
    assert overrides_of(None, None, None, [], None) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600", 3600),
        ("3600s", 3600),
        ("90m", 5400),
        ("23h30m", 84_600),
        ("2d", 172_800),
        ("1d2h3m4s", 93_784),
        ("1h5s", 3605),
        (" 45m ", 2700),
        ("100h", 360_000),
    ],
)
def test_a_duration_in_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0", "0h0m", "-5m", "1.5h", "30m1h", "1h30", "h", "5w", "1h 30m"])
def test_another_duration_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"--time-limit .*write a duration, for example 23h30m, 90m or 3600s"):
        parse_duration(text)


@given(st.integers(0, 9), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_a_duration_is_the_sum_of_its_parts(days, hours, minutes, seconds):
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    expected = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if expected:
        assert parse_duration(text) == expected
    else:
        with pytest.raises(ConfigError):
            parse_duration(text)


@pytest.mark.parametrize(("text", "found"), [("0:1", (0, 1)), ("1000:1200", (1000, 1200)), (" 5 : 9 ", (5, 9))])
def test_a_range(text, found):
    assert parse_range("--skip-samples", text) == found


@pytest.mark.parametrize("text", ["", "5", "9:3", "5:5", ":", "5:", "-1:5", "1:2:3", "a:b", "1-2"])
def test_another_range_is_refused_by_its_option(text):
    with pytest.raises(ConfigError) as caught:
        parse_range("--profile", text)
    assert str(caught.value).startswith(f"--profile {text}: write it as FIRST:STOP with FIRST below STOP")


def test_a_budget_comes_with_a_schedule_that_ends_decayed():
    config = configured(budget="3000cny", price="5/h")
    assert config.budget == BudgetConfig(amount=3000, unit="cny", price_per_hour=5, currency="cny")
    assert config.schedule.decay == "wsd"
    assert configured(price="2usd/h").schedule.decay == load_config("gpt_tiny_cpu").schedule.decay


@pytest.mark.parametrize(
    ("budget", "amount", "unit"), [("20e9tokens", 20e9, "tokens"), ("40h", 40, "hours"), ("1,500usd", 1500, "usd")]
)
def test_every_kind_of_budget_is_accepted(budget, amount, unit):
    config = configured(budget=budget)
    assert (config.budget.amount, config.budget.unit) == (amount, unit)


def test_a_price_alone_is_no_budget():
    assert configured(price="2.5usd/h").budget == BudgetConfig(price_per_hour=2.5, currency="usd")


def test_a_time_limit_is_seconds():
    assert configured(time_limit="23h30m").train.time_limit_seconds == 84_600


def test_samples_to_skip_are_ranges():
    config = configured(skip_samples=("1000:1200", "5:9"))
    assert config.data.skip_samples == [SampleRange(first=1000, stop=1200), SampleRange(first=5, stop=9)]


def test_a_profile_names_its_first_and_its_last_step():
    logging = configured(profile="10:13").logging
    assert (logging.profile_first_step, logging.profile_last_step) == (10, 12)


def test_all_options_together():
    config = configured("90s", "5/h", "2d", ("1:2",), "3:4")
    assert config.budget.unit == "seconds" and config.train.time_limit_seconds == 172_800
    assert config.data.skip_samples and config.logging.profile_last_step == 3
