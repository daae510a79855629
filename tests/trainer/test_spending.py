"""Time and money of a run over all its instances, killed ones included."""

import json
from pathlib import Path

import pytest

from megatron_recipe import spending as module
from megatron_recipe.config import BudgetConfig
from megatron_recipe.errors import CheckpointError, ConfigError
from megatron_recipe.spending import SPENDING, WRITE_EVERY_SECONDS, Spending


class Clock:
    """A monotonic clock that stands until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def lives(folder: Path, clock: Clock, seconds: float, price: float, currency: str = "cny") -> Spending:
    """An instance that lives so long, marks it, and is killed."""
    instance = Spending(folder, BudgetConfig(price_per_hour=price, currency=currency), clock.now)
    clock.now += seconds
    instance.mark(now=True)
    clock.now += 10_000.0  # nobody rents a machine in between
    return instance


def written(folder: Path) -> dict:
    return json.loads((folder / SPENDING).read_text(encoding="utf-8"))


def test_the_first_instance_counts_from_its_start(tmp_path, clock):
    instance = Spending(tmp_path, BudgetConfig(price_per_hour=7.2), clock.now - 20)
    assert (instance.seconds(), instance.money()) == (20.0, pytest.approx(0.04))
    clock.now += 30
    assert (instance.seconds(), instance.money()) == (50.0, pytest.approx(0.1))


def test_all_instances_are_added_up_each_at_its_own_price(tmp_path, clock):
    lives(tmp_path, clock, 3600, 5.0)
    lives(tmp_path, clock, 1800, 4.0)
    third = Spending(tmp_path, BudgetConfig(price_per_hour=10.0), clock.now)
    clock.now += 360
    assert third.seconds() == 3600 + 1800 + 360
    assert third.money() == pytest.approx(5.0 + 2.0 + 1.0)
    third.mark(now=True)
    assert [(entry["seconds"], entry["price_per_hour"]) for entry in written(tmp_path)["instances"]] == [
        (3600, 5.0),
        (1800, 4.0),
        (360, 10.0),
    ]


def test_without_a_price_no_money_is_claimed(tmp_path, clock):
    lives(tmp_path, clock, 3600, 5.0)
    instance = Spending(tmp_path, BudgetConfig(), clock.now)
    assert instance.money() is None
    assert instance.seconds() == 3600


def test_an_instance_is_written_every_few_seconds_and_at_the_end(tmp_path, clock):
    instance = Spending(tmp_path, BudgetConfig(), clock.now)
    instance.mark()
    for after, kept in ((WRITE_EVERY_SECONDS / 2, 0.0), (WRITE_EVERY_SECONDS, WRITE_EVERY_SECONDS * 1.5)):
        clock.now += after
        instance.mark()
        assert [entry["seconds"] for entry in written(tmp_path)["instances"]] == [kept]
    clock.now += 1.0
    instance.mark(now=True)
    assert [entry["seconds"] for entry in written(tmp_path)["instances"]] == [WRITE_EVERY_SECONDS * 1.5 + 1.0]


def test_what_closing_a_run_takes_is_remembered(tmp_path, clock):
    instance = Spending(tmp_path, BudgetConfig(), clock.now)
    assert instance.closing_seconds is None
    instance.closing_seconds = 12.5
    instance.mark(now=True)
    assert Spending(tmp_path, BudgetConfig(), clock.now).closing_seconds == 12.5


def test_two_currencies_have_no_sum(tmp_path, clock):
    lives(tmp_path, clock, 3600, 5.0, "cny")
    with pytest.raises(ConfigError) as caught:
        Spending(tmp_path, BudgetConfig(price_per_hour=2.0, currency="usd"), clock.now)
    for part in ("budget.currency=usd", "paid in cny", SPENDING, "give the price in cny"):
        assert part in str(caught.value)
    assert Spending(tmp_path, BudgetConfig(price_per_hour=2.0, currency="cny"), clock.now).money() == 5.0


@pytest.mark.parametrize(("price", "later_price"), [(0.0, 2.0), (5.0, 0.0)])
def test_an_instance_without_a_price_has_no_currency(tmp_path, clock, price, later_price):
    lives(tmp_path, clock, 3600, price, "cny")
    later = Spending(tmp_path, BudgetConfig(price_per_hour=later_price, currency="usd"), clock.now)
    assert later.seconds() == 3600


ENTRY = {"began": "2026-11-24T09:00:00+0800", "seconds": 5.0, "price_per_hour": 0.0, "currency": "cny"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "7",
        '{"instances": []}',
        '{"closing_seconds": null}',
        '{"instances": 3, "closing_seconds": null}',
        '{"instances": ["x"], "closing_seconds": null}',
        *(
            json.dumps({"instances": [{k: v for k, v in ENTRY.items() if k != left_out}], "closing_seconds": None})
            for left_out in ("seconds", "price_per_hour")
        ),
        json.dumps({"instances": [ENTRY], "closing_seconds": None})[:-9],
    ],
)
def test_a_damaged_file_is_an_error_that_says_what_deleting_it_means(tmp_path, clock, content):
    (tmp_path / SPENDING).write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"spending.json: damaged .*delete it to count from zero"):
        Spending(tmp_path, BudgetConfig(), clock.now)
