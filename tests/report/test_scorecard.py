"""The plan's goals: yes and no need a number that was measured, and a price that someone gave."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_comparison import comparison, write_comparison
from made_run import Project

from megatron_recipe.plan import cost
from megatron_recipe.report.bill import bill_of
from megatron_recipe.report.comparison_file import read_comparison
from megatron_recipe.report.run_files import Run, read_run
from megatron_recipe.report.scorecard import Judgement, scorecard
from megatron_recipe.report.summary import summarise
from megatron_recipe.report.words import Words

HOUR: dict[str, Any] = {
    "began": "2026-11-24T06:02:11+00:00",
    "seconds": 3600.0,
    "price_per_hour": 0.0,
    "currency": "cny",
}


@pytest.fixture
def run(project: Project) -> Run:
    return read_run(project.run)


def judged(
    run: Run, price: dict[str, float | str] | None = None, comparisons: tuple[Path, ...] = ()
) -> list[Judgement]:
    found = [read_comparison(folder) for folder in comparisons]
    return scorecard(run, summarise(run), bill_of(run, price), found, Words("en"))


def costs(run: Run, price: dict[str, float | str] | None = None) -> list[bool | None]:
    return [one.is_met for one in judged(run, price)[:2]]


def test_cost_lies_below_between_or_above_the_limits(run: Run) -> None:
    for hourly, met in ((2_999.0, [True, True]), (3_000.0, [False, True]), (5_000.0, [False, False])):
        assert costs(replace(run, spending=[{**HOUR, "price_per_hour": hourly}])) == met


def test_a_part_without_a_price_leaves_the_cost_unknown(run: Run) -> None:
    half = replace(run, spending=[{**HOUR, "price_per_hour": 10.0}, HOUR])
    assert costs(half) == [None, None]
    assert "give it with --price" in judged(half)[0].evidence
    given = judged(half, {"price_per_hour": 20.0, "currency": "cny"})[0]
    assert given.is_met and "¥40.00" in given.evidence and "given with --price" in given.evidence


def test_a_record_in_metrics_is_no_price(run: Run) -> None:
    train = [{**record, "cost_so_far": 5.0} for record in run.train]
    assert costs(replace(run, train=train, spending=[HOUR])) == [None, None]


def test_damaged_times_and_two_currencies_have_no_sum(run: Run) -> None:
    assert costs(replace(run, spending=[{**HOUR, "price_per_hour": 10.0, "seconds": None}])) == [None, None]
    dollars = {**HOUR, "price_per_hour": 2.0, "currency": "usd"}
    mixed = replace(run, spending=[{**HOUR, "price_per_hour": 10.0}, dollars])
    assert costs(mixed) == [None, None]
    assert "different currencies" in judged(mixed)[0].evidence


def test_dollars_are_converted_only_at_a_checked_rate(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    dollars = replace(run, spending=[{**HOUR, "price_per_hour": 500.0, "currency": "usd"}])
    rate = cost.Rate(7.0, "2026-11", checked=False)
    for module in ("bill", "scorecard"):
        monkeypatch.setattr(f"megatron_recipe.report.{module}.rate", lambda: rate)
    assert costs(dollars) == [None, None]
    assert "$500.00 is not in CNY" in judged(dollars)[0].evidence
    rate = cost.Rate(7.0, "2026-11", checked=True)
    assert costs(dollars) == [False, True]
    assert "So far" not in judged(dollars)[0].evidence
    assert "So far: the run has not" in judged(replace(dollars, events=[], train=[]))[0].evidence
    assert "¥3,500.00 at 7.0 CNY for a dollar" in judged(dollars)[0].evidence


def size(run: Run) -> Judgement:
    return next(one for one in judged(run) if one.goal == "A model of 1B is trained")


def test_a_model_of_a_billion_counts_when_it_came_to_its_end(run: Run) -> None:
    big = replace(run, environment={**run.environment, "parameters": 1_038_682_112})
    train = [*big.train[:-1], {**big.train[-1], "tokens": 20_000_000_000}]
    assert size(big).is_met is False and "less than a token per parameter" in size(big).evidence
    big = replace(big, train=train)
    assert size(big).is_met is True
    cut = replace(big, events=big.events[:-1], train=big.train[:100])
    assert size(cut).is_met is False
    assert "stands at step 100 of 400" in size(cut).evidence
    assert size(replace(big, events=[], train=[])).is_met is None
    assert size(run).is_met is False
    assert size(replace(run, environment={})).is_met is None


def perplexities(run: Run) -> dict[str, bool | None]:
    return {one.goal: one.is_met for one in judged(run) if "perplexity" in one.goal}


def test_each_held_out_set_is_judged_by_itself(run: Run) -> None:
    splits = {"news": {"loss": math.log(19.9), "tokens": 10}, "code": {"loss": math.log(20.1), "tokens": 10}}
    assert run.perplexity is not None
    several = replace(run, perplexity={**run.perplexity, "splits": {**splits, "lost": {"loss": math.nan}}})
    name = "Held-out perplexity below 20 on “{}”"
    assert perplexities(several) == {name.format("news"): True, name.format("code"): False, name.format("lost"): None}


def test_validation_in_training_stands_in_and_says_so(run: Run) -> None:
    lone = replace(run, perplexity=None, validation=[{**run.validation[-1], "loss": 2.5}])
    (judgement,) = [one for one in judged(lone) if "perplexity" in one.goal]
    assert judgement.is_met is True and judgement.file.endswith("metrics.jsonl")
    assert "12.2 at step 400" in judgement.evidence and "was not evaluated" in judgement.evidence
    assert perplexities(replace(lone, validation=[])) == {"Held-out perplexity below 20": None}


def test_only_a_shown_difference_proves_a_judgement(run: Run, tmp_path: Path) -> None:
    content = comparison()
    shown = write_comparison(tmp_path / "shown", content)
    alike = write_comparison(tmp_path / "alike", {**content, "conclusions": content["conclusions"][1:]})
    single = write_comparison(tmp_path / "single", comparison(seeds=(1,)))
    proof = {name: judged(run, comparisons=folders)[-1] for name, folders in {
        "none": (), "shown": (alike, shown), "alike": (alike, single), "single": (single,),
    }.items()}  # fmt: skip
    assert {name: one.is_met for name, one in proof.items()} == {
        "none": None, "shown": True, "alike": False, "single": None
    }  # fmt: skip
    assert "0.218 ± 0.050" in proof["shown"].evidence
    assert "add --comparison" in proof["none"].evidence
