"""What a run cost, or why that is not known: recorded prices, or the price that the user gives; nothing is guessed."""

from dataclasses import dataclass

from megatron_recipe.plan.cost import rate
from megatron_recipe.report.run_files import Run
from megatron_recipe.report.training import is_number
from megatron_recipe.spending import SECONDS_PER_HOUR

Price = dict[str, float | str]


@dataclass(frozen=True)
class Bill:
    """Time and money of all instances of a run; None for what is not known."""

    seconds: float | None
    amount: float | None
    currency: str | None
    price_per_hour: float | None
    """Of the whole machine, where all instances had the same."""
    missing: str | None
    """Why there is no amount: a key below `bill.` of the words."""
    is_given: bool
    """Whether the price is the user's of now, not the one recorded."""

    @property
    def cny(self) -> float | None:
        """The amount in yuan; dollars are converted only at a rate that someone has checked (plan/prices.yaml)."""
        if self.amount is None or self.currency == "cny":
            return self.amount
        return self.amount * rate().cny_per_usd if self.currency == "usd" and rate().checked else None


def bill_of(run: Run, price: Price | None) -> Bill:
    """The bill of `run`, at `price` (`price_per_hour` and `currency`) where the user gives one."""
    times = [one.get("seconds") for one in run.spending]
    seconds = sum(time for time in times if is_number(time)) if times and all(map(is_number, times)) else None
    if seconds is None:
        return Bill(None, None, None, None, "no_spending", is_given=False)
    if price is not None:
        hourly = float(price["price_per_hour"])
        return Bill(seconds, seconds * hourly / SECONDS_PER_HOUR, str(price["currency"]), hourly, None, is_given=True)
    prices = [one.get("price_per_hour") for one in run.spending]
    currencies = {str(one.get("currency")) for one in run.spending if one.get("currency")}
    known = [float(one) for one in prices if is_number(one) and one > 0]
    if len(known) < len(prices) or not currencies:
        return Bill(seconds, None, None, None, "no_price", is_given=False)
    if len(currencies) > 1:
        return Bill(seconds, None, None, None, "two_currencies", is_given=False)
    amount = sum(float(one["seconds"]) * hourly for one, hourly in zip(run.spending, known, strict=True))
    same = known[0] if len(set(known)) == 1 else None
    return Bill(seconds, amount / SECONDS_PER_HOUR, currencies.pop(), same, None, is_given=False)
