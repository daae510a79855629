"""Rates, costs and the console's line of a record."""

import pytest
import torch

from megatron_recipe import flops, metrics
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config
from megatron_recipe.run_state import RunState

RANKS = Ranks(rank=0, world_size=4, data_rank=0, data_size=4, device=torch.device("cpu"))
RECORD = {
    "step": 12,
    "loss": 2.34567,
    "learning_rate": 3e-4,
    "grad_norm": 0.5,
    "tokens_per_second": 77_400.0,
    "tokens_per_second_per_gpu": 77_400.0,
    "tflops_per_gpu": 580.9,
    "mfu_full": 0.587,
    "mfu_causal": 0.524,
    "memory_gb": 38.5,
    "cost_so_far": None,
    "eta_seconds": None,
}


class Clock:
    """Stands in for `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(metrics, "time", clock)
    return clock


def interval(config, clock, monkeypatch, peak=None, **spent):
    """The record of 10 steps of 8 × 1,000 tokens in 40 s by 4 ranks."""
    monkeypatch.setattr(flops, "peak_tflops", lambda name: peak)
    state = RunState(step=10, samples=80, tokens=80_000, seconds=1000.0)
    speed = metrics.Speedometer(config, 4096, RANKS, state)
    clock.now += 40
    state.step, state.samples, state.tokens, state.seconds = 20, 160, 160_000, 1800.0
    assert speed.interval(state) == (40.0, 80_000)
    return speed.read(state, **spent), speed, state


CONFIG = load_config(
    "gpt_tiny_cpu",
    (
        "model.sequence_length_tokens=1000",
        "batch.global_batch_size_samples=8",
        "train.steps=100",
        "batch.ramp_up_from_samples=0",
    ),
)


def with_price(unit="cny", amount=0.0):
    return CONFIG.model_copy(
        update={
            "budget": CONFIG.budget.model_copy(
                update={"price_per_hour": 5.0, "currency": "usd", "unit": unit, "amount": amount}
            )
        }
    )


def test_rates_of_an_interval(clock, monkeypatch):
    record, speed, state = interval(CONFIG, clock, monkeypatch, peak=0.001)
    assert record["step_seconds"] == 4.0
    assert record["tokens_per_second"] == 2000.0
    assert record["tokens_per_second_per_gpu"] == 500.0
    full = flops.flops_per_token(CONFIG.model, 4096, causal=False)
    causal = flops.flops_per_token(CONFIG.model, 4096, causal=True)
    assert record["tflops_per_gpu"] == pytest.approx(500 * full / 1e12)
    assert record["tflops_per_gpu_causal"] == pytest.approx(500 * causal / 1e12)
    assert record["mfu_full"] == pytest.approx(500 * full / 1e9)
    assert record["mfu_causal"] < record["mfu_full"]
    assert record["memory_gb"] is None
    assert record["memory_reserved_gb"] is None
    assert record["cost_so_far"] is None
    assert record["eta_seconds"] == 80 * 4.0  # 80 steps are left
    # what is no training does not count
    clock.now += 1000
    speed.restart(state)
    clock.now += 4
    state.step, state.tokens = 21, 168_000
    assert speed.read(state)["step_seconds"] == 4.0


def test_an_unknown_card_has_no_mfu(clock, monkeypatch):
    record, _, _ = interval(CONFIG, clock, monkeypatch)
    assert record["mfu_full"] is None
    assert record["mfu_causal"] is None


def test_what_it_costs_and_how_long_it_lasts(clock, monkeypatch):
    record, _, _ = interval(with_price(), clock, monkeypatch)
    assert record["cost_so_far"] == 2.5  # half an hour at 5
    record, _, _ = interval(with_price("usd", 20.0), clock, monkeypatch, money_spent=5.0, budget_spent=0.25)
    assert record["cost_so_far"] == 5.0
    assert record["eta_seconds"] == 3 * 3600  # 15 of 20 dollars at 5 an hour


def test_a_ramp_up_counts_samples_not_steps(clock, monkeypatch):
    batch = CONFIG.batch.model_copy(
        update={"ramp_up_from_samples": 4, "ramp_up_increment_samples": 4, "ramp_up_steps": 50}
    )
    record, _, _ = interval(CONFIG.model_copy(update={"batch": batch}), clock, monkeypatch)
    total = 50 * 4 + 50 * 8
    assert record["eta_seconds"] == (total - 160) * 1000 / 2000.0


def test_the_console_line_on_a_gpu():
    line = metrics.console_line({**RECORD, "eta_seconds": 7265.0, "cost_so_far": 12.34}, 100)
    assert line == (
        "step 12/100  loss 2.3457  lr 3.00e-04  grad norm 0.500  77,400 tokens/s/GPU  581 TFLOP/s/GPU  "
        "MFU 58.7% full, 52.4% causal  38.5 GB  ETA 2:01:05  ¥12.3"
    )
    assert metrics.console_line({**RECORD, "cost_so_far": 1234.5}, 100, "usd").endswith("$1,234.5")
    assert "loss scale 65536" in metrics.console_line({**RECORD, "loss_scale": 65536.0}, 100)
    assert metrics.console_line(RECORD, 0).startswith("step 12  loss")


def test_the_console_line_on_a_cpu_says_what_is_known():
    line = metrics.console_line({**RECORD, "memory_gb": None, "mfu_full": None, "mfu_causal": None}, 100)
    assert line == "step 12/100  loss 2.3457  lr 3.00e-04  grad norm 0.500  77,400 tokens/s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3605, "1:00:05"), (86_400 * 3 + 4 * 3600 + 300, "3d 04:05")]
)
def test_durations(seconds, text):
    assert metrics.duration(seconds) == text


def test_a_held_out_loss_in_three_units():
    record = metrics.loss_record(2.0, 4.0)
    assert record["perplexity"] == pytest.approx(7.389, abs=1e-3)
    assert record["bits_per_byte"] == pytest.approx(2 / 0.693147 / 4, abs=1e-5)
    assert metrics.loss_record(1e6, 4.0)["perplexity"] < float("inf")
