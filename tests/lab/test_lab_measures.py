"""What is read from a run's records: the numbers that stand there, and nothing for what does not."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from megatron_recipe.config import Config
from megatron_recipe.lab.measures import UNITS, measure, units
from megatron_recipe.loggers.records import append_record
from megatron_recipe.recipes import load_config

STEPS = 20


def config() -> Config:
    return load_config("gpt_tiny_cpu", (f"train.steps={STEPS}",))


def train_record(step: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"kind": "train", "step": step, "loss": loss, "tokens_per_second": 100.0 + step, "mfu_full": None, **more}


def held_out(step: int, loss: float, kind: str = "validation") -> dict[str, Any]:
    return {"kind": kind, "step": step, "loss": loss, "perplexity": math.exp(loss), "bits_per_byte": loss / 2}


def run_of(folder: Path, *records: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for record in records:
        append_record(folder / "metrics.jsonl", record)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 20 steps whose loss is 10 less half its step, measured every 5."""
    records = [train_record(step, 10 - step / 2, mfu_full=step / 100) for step in range(1, STEPS + 1)]
    records += [held_out(step, 10 - step / 4) for step in (5, 10, 15, 20)]
    return run_of(tmp_path, *sorted(records, key=lambda record: int(record["step"])))


def test_the_end_of_a_run(run: Path) -> None:
    values = measure(run, config(), ["validation"], None)
    assert values["train_loss"] == pytest.approx((10 - 19 / 2 + 10 - 20 / 2) / 2)  # the last two of twenty steps
    assert values["validation_loss"] == 5.0
    assert values["perplexity"] == pytest.approx(math.exp(5))
    assert values["bits_per_byte"] == 2.5
    assert values["tokens_per_second"] == 111.0  # the median of all but the first
    assert values["mfu_full"] == pytest.approx(11.0)
    assert set(values) == set(UNITS)


@pytest.mark.parametrize(("target", "step"), [(None, None), (7.5, 10.0), (7.6, 10.0), (4.9, None)])
def test_steps_to_a_target_are_those_of_the_first_validation_below_it(
    run: Path, target: float | None, step: float | None
) -> None:
    assert measure(run, config(), ["validation"], target)["steps_to_target"] == step


def test_several_sets_are_averaged_and_told_apart(tmp_path: Path) -> None:
    sets = ["validation/en", "validation/zh"]
    run_of(
        tmp_path,
        train_record(20, 5.0),
        *[held_out(10, 6.0, kind) for kind in sets],
        held_out(20, 1.0),  # the mix's own text, which another setting has not
        held_out(20, 4.0, sets[0]),
        held_out(20, 5.0, sets[1]),
    )
    values = measure(tmp_path, config(), sets, 5.0)
    assert (values["validation_loss/en"], values["validation_loss/zh"]) == (4.0, 5.0)
    assert (values["validation_loss"], values["bits_per_byte"]) == (4.5, 2.25)
    assert values["perplexity"] == pytest.approx(math.exp(4.5))
    assert values["steps_to_target"] == 20
    assert set(values) == set(units(sets, None))


def test_what_was_not_measured_is_none(tmp_path: Path) -> None:
    run_of(tmp_path, train_record(5, 5.0), held_out(5, 4.0))
    values = measure(tmp_path, config(), ["validation"], 4.5)
    assert values["steps_to_target"] == 5
    del values["steps_to_target"]
    assert set(values.values()) == {None}  # the end was not reached; one record of speed is its warming up; no price


def test_a_mean_over_some_of_the_sets_is_none(tmp_path: Path) -> None:
    run_of(tmp_path, held_out(10, 6.0, "validation/zh"), train_record(20, 5.0), held_out(20, 4.0, "validation/en"))
    values = measure(tmp_path, config(), ["validation/en", "validation/zh"], None)
    assert (values["validation_loss"], values["bits_per_byte"], values["perplexity"]) == (None, None, None)
    assert (values["validation_loss/en"], values["validation_loss/zh"]) == (4.0, None)


def test_a_loss_that_is_no_number_is_none(tmp_path: Path) -> None:
    run_of(tmp_path, train_record(20, math.nan), held_out(20, math.inf))
    values = measure(tmp_path, config(), ["validation"], None)
    assert values["train_loss"] is None and values["validation_loss"] is None and values["perplexity"] is None


def test_the_latest_pass_over_a_step_counts(tmp_path: Path) -> None:
    run_of(tmp_path, train_record(20, 9.0), held_out(20, 9.0), train_record(19, 3.0), train_record(20, 3.0))
    run_of(tmp_path, held_out(20, 4.0))
    values = measure(tmp_path, config(), ["validation"], None)
    assert (values["train_loss"], values["validation_loss"]) == (3.0, 4.0)


@pytest.mark.parametrize(
    ("prices", "cost"), [([(3600, 2.0), (1800, 4.0)], 4.0), ([(3600, 2.0), (1800, 0.0)], None), ([(10, 0.0)], None)]
)
def test_the_cost_is_that_of_all_instances(run: Path, prices: list[tuple[float, float]], cost: float | None) -> None:
    instances = [{"seconds": seconds, "price_per_hour": price} for seconds, price in prices]
    (run / "spending.json").write_text(json.dumps({"instances": instances}), encoding="utf-8")
    assert measure(run, config(), ["validation"], None)["cost"] == cost
