"""Records of a step and of a validation: what metrics.jsonl holds and the console shows."""

import math
import time
from typing import Any

import torch

from megatron_recipe import flops
from megatron_recipe.config import Config
from megatron_recipe.parallel import Ranks
from megatron_recipe.run_state import RunState

BITS_PER_NAT = 1 / math.log(2)


class Speedometer:
    """Time and tokens since the last record, turned into rates."""

    def __init__(self, config: Config, vocab_size: int, ranks: Ranks, state: RunState) -> None:
        self.ranks = ranks
        self.full = flops.flops_per_token(config.model, vocab_size, causal=False)
        self.causal = flops.flops_per_token(config.model, vocab_size, causal=True)
        self.device_name = device_name(ranks.device)
        self.peak = flops.peak_tflops(self.device_name)
        self.restart(state)

    def restart(self, state: RunState) -> None:
        """Begin a new interval, after something that is not training (a validation, a save)."""
        self.since, self.step, self.tokens = time.monotonic(), state.step, state.tokens

    def read(self, state: RunState) -> dict[str, Any]:
        """Rates of the interval that ends now; unknown ones (MFU on an unknown card) are None. Begins the next one."""
        seconds = max(time.monotonic() - self.since, 1e-9)
        steps, tokens = state.step - self.step, state.tokens - self.tokens
        self.restart(state)
        per_second = tokens / seconds
        per_gpu = per_second / self.ranks.world_size
        tflops = {"full": per_gpu * self.full / 1e12, "causal": per_gpu * self.causal / 1e12}
        on_gpu = self.ranks.device.type == "cuda"
        return {
            "step_seconds": seconds / max(steps, 1),
            "tokens_per_second": per_second,
            "tokens_per_second_per_gpu": per_gpu,
            "tflops_per_gpu": tflops["full"],
            "mfu_full": tflops["full"] / self.peak if self.peak else None,
            "mfu_causal": tflops["causal"] / self.peak if self.peak else None,
            "memory_gb": torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None,
        }


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


def console_line(record: dict[str, Any], steps: int) -> str:
    """A train record as one line."""
    parts = [
        f"step {record['step']}/{steps}",
        f"loss {record['loss']:.4f}",
        f"lr {record['learning_rate']:.2e}",
        f"grad norm {record['grad_norm']:.3f}",
        f"{record['tokens_per_second_per_gpu']:,.0f} tokens/s/GPU"
        if record["memory_gb"] is not None
        else f"{record['tokens_per_second']:,.0f} tokens/s",
    ]
    if record["mfu_full"] is not None:
        parts.append(f"MFU {record['mfu_full']:.1%} full, {record['mfu_causal']:.1%} causal")
    if record["memory_gb"] is not None:
        parts.append(f"{record['memory_gb']:.1f} GB")
    return "  ".join(parts)
