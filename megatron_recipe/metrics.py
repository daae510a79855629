"""Records of a step and of a validation: what metrics.jsonl holds and the console shows."""

import math
import time
from typing import Any

import torch

from megatron_recipe import flops
from megatron_recipe.batch_schedule import total_samples
from megatron_recipe.budget import budget_seconds
from megatron_recipe.config import Config
from megatron_recipe.parallel import Ranks
from megatron_recipe.run_state import RunState

BITS_PER_NAT = 1 / math.log(2)
SECONDS_PER_HOUR = 3600.0
SIGNS = {"cny": "¥", "usd": "$"}


class Speedometer:
    """Time and tokens since the last record, turned into rates."""

    def __init__(self, config: Config, vocab_size: int, ranks: Ranks, state: RunState) -> None:
        self.config, self.ranks = config, ranks
        self.full = flops.flops_per_token(config.model, vocab_size, causal=False)
        self.causal = flops.flops_per_token(config.model, vocab_size, causal=True)
        self.device_name = device_name(ranks.device)
        self.peak = flops.peak_tflops(self.device_name)
        self.restart(state)

    def restart(self, state: RunState) -> None:
        """Begin a new interval, after something that is not training (a validation, a save)."""
        self.since, self.step, self.tokens = time.monotonic(), state.step, state.tokens

    def interval(self, state: RunState) -> tuple[float, int]:
        """Seconds and tokens of the interval so far."""
        return max(time.monotonic() - self.since, 1e-9), state.tokens - self.tokens

    def read(
        self, state: RunState, money_spent: float | None = None, budget_spent: float | None = None
    ) -> dict[str, Any]:
        """Rates of the interval that ends now; unknown ones (MFU on an unknown card) are None. Begins the next one.

        Args:
            money_spent: what the run has cost over all its instances; None counts the run's own seconds at today's
                price.
            budget_spent: share of the budget that is spent, of a run that ends with it; None counts by samples.
        """
        seconds, tokens = self.interval(state)
        steps = state.step - self.step
        self.restart(state)
        per_second = tokens / seconds
        per_gpu = per_second / self.ranks.world_size
        full, causal = per_gpu * self.full / 1e12, per_gpu * self.causal / 1e12
        return {
            "step_seconds": seconds / max(steps, 1),
            "tokens_per_second": per_second,
            "tokens_per_second_per_gpu": per_gpu,
            "tflops_per_gpu": full,
            "tflops_per_gpu_causal": causal,
            "mfu_full": full / self.peak if self.peak else None,
            "mfu_causal": causal / self.peak if self.peak else None,
            **memory(self.ranks.device),
            "cost_so_far": cost(self.config, state) if money_spent is None else money_spent,
            "eta_seconds": self._seconds_left(state, per_second, budget_spent),
        }

    def _seconds_left(self, state: RunState, per_second: float, budget_spent: float | None) -> float | None:
        """Of training alone, at the interval's speed; validations and saves come on top."""
        if budget_spent is not None:
            return max(0.0, 1 - budget_spent) * budget_seconds(self.config.budget)
        samples = max(0, total_samples(self.config) - state.samples)
        tokens = samples * self.config.model.sequence_length_tokens
        return tokens / per_second if per_second > 0 else None


def memory(device: torch.device) -> dict[str, float | None]:
    """The most that torch has held at once on this rank's GPU since the start, allocated and reserved, and what the
    card has, in GB."""
    if device.type != "cuda":
        return {"memory_gb": None, "memory_reserved_gb": None}
    return {
        "memory_card_gb": torch.cuda.get_device_properties(device).total_memory / 1e9,
        "memory_gb": torch.cuda.max_memory_allocated(device) / 1e9,
        "memory_reserved_gb": torch.cuda.max_memory_reserved(device) / 1e9,
    }


def cost(config: Config, state: RunState) -> float | None:
    """Price of the run's seconds in `budget.currency`; None where no price is known."""
    price = config.budget.price_per_hour
    return state.seconds / SECONDS_PER_HOUR * price if price else None


def device_name(device: torch.device) -> str:
    """The card's name as CUDA reports it, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def position(state: RunState) -> dict[str, Any]:
    """Step, samples, tokens and seconds of a record."""
    return {"step": state.step, "samples": state.samples, "tokens": state.tokens, "seconds": round(state.seconds, 3)}


def loss_record(loss: float, bytes_per_token: float) -> dict[str, Any]:
    """A held-out loss in nats a token, with its perplexity and its bits per byte of text."""
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_byte": loss * BITS_PER_NAT / bytes_per_token,
    }


def score_words(name: str, record: dict[str, Any]) -> str:
    """A benchmark's record in short: its main metric in percent, with the standard error."""
    metric = record["metric"]
    error = record[f"{metric}_stderr"]
    return f"{name} {metric} {100 * record[metric]:.1f}" + ("" if error is None else f" ± {100 * error:.1f}") + " %"


def console_line(record: dict[str, Any], steps: int, currency: str = "cny") -> str:
    """A train record as one line; `steps` is 0 where the run ends with its budget and not at a step."""
    parts = [
        f"step {record['step']}/{steps}" if steps else f"step {record['step']}",
        f"loss {record['loss']:.4f}",
        f"lr {record['learning_rate']:.2e}",
        f"grad norm {record['grad_norm']:.3f}",
    ]
    if record.get("loss_scale") is not None:
        parts.append(f"loss scale {record['loss_scale']:g}")
    if record["memory_gb"] is not None:
        parts.append(f"{record['tokens_per_second_per_gpu']:,.0f} tokens/s/GPU")
        parts.append(f"{record['tflops_per_gpu']:,.0f} TFLOP/s/GPU")
    else:
        parts.append(f"{record['tokens_per_second']:,.0f} tokens/s")
    if record["mfu_full"] is not None:
        parts.append(f"MFU {record['mfu_full']:.1%} full, {record['mfu_causal']:.1%} causal")
    if record["memory_gb"] is not None:
        parts.append(f"{record['memory_gb']:.1f} GB")
    if record.get("eta_seconds") is not None:
        parts.append(f"ETA {duration(record['eta_seconds'])}")
    if record.get("cost_so_far") is not None:
        parts.append(f"{SIGNS[currency]}{record['cost_so_far']:,.1f}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """`3d 04:05`, `4:05:06` or `5:06`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02d}:{minute:02d}"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
