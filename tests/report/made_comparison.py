"""A comparison folder as `lab compare` leaves it, made of chosen numbers; its curves differ by seed and by setting."""

import json
import math
import random
from pathlib import Path
from typing import Any

from made_run import write, write_lines

LABELS, SEEDS = ("1e-4", "3e-4", "5e-4"), (1, 2, 3)
STEPS, STEP_TOKENS = 256, 4096
LOSSES = {"1e-4": 5.62, "3e-4": 5.41, "5e-4": 5.402}
"""Held-out loss at the end, before the seed moves it by a hundredth."""
MEASURES = {
    "train_loss": ("nats", "lower"), "validation_loss": ("nats", "lower"), "perplexity": ("", "lower"),
    "bits_per_byte": ("bits", "lower"), "steps_to_target": ("steps", "lower"), "mfu_full": ("%", "higher"),
    "tokens_per_second": ("tokens/s", "higher"), "cost": ("CNY", "lower"),
}  # fmt: skip


def comparison(seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """What comparison.json holds."""
    with_intervals = len(seeds) > 1
    return {
        "format": 1, "name": "learning_rate", "recipe": "gpt_tiny_cpu",
        "title": {"en": "Learning rate", "zh": "学习率"},
        "why": {"en": "Too low wastes the budget, too high diverges.", "zh": "太低浪费预算，太高会发散。"},
        "hypothesis": {"en": "3e-4 is best.", "zh": "3e-4 最好。"},
        "command": "megatron-recipe lab compare learning_rate --seeds 1,2,3",
        "started": "2026-11-24T21:30:00+0000", "updated": "2026-11-24T21:38:10+0000",
        "hardware": "2 x AMD EPYC 9R14", "version": "1ec0fdd", "changed": ["optimizer.learning_rate"],
        "seeds": list(seeds), "tokens_per_run": STEPS * STEP_TOKENS, "confidence": 0.95, "target_loss": 5.7,
        "currency": "CNY",
        "settings": [_setting(label, seeds) for label in LABELS],
        "measures": {name: {"unit": unit, "better": better} for name, (unit, better) in MEASURES.items()},
        "pairs": [
            _pair("1e-4", "3e-4", 0.21, 0.04), _pair("1e-4", "5e-4", 0.218, 0.05), _pair("3e-4", "5e-4", 0.008, 0.03),
            _pair("1e-4", "3e-4", -3.0, 80.0, "tokens_per_second"),
        ] if with_intervals else [],
        "conclusions": [
            {"kind": "better", "better": "5e-4", "worse": "1e-4", "measure": "validation_loss", "difference": 0.218,
             "half_width": 0.05, "seeds": 3},
            {"kind": "no_difference", "labels": ["3e-4", "5e-4"], "measure": "validation_loss", "half_width": 0.03,
             "seeds": 3},
        ] if with_intervals else [
            {"kind": "not_measured", "reason": "one seed has no spread", "why": "one_seed", "labels": list(LABELS)},
        ],
    }  # fmt: skip


def write_comparison(folder: Path, content: dict[str, Any] | None = None) -> Path:
    """Write the folder: comparison.json, and the metrics of each run that is not `not run`."""
    content = content or comparison()
    write(folder / "comparison.json", content)
    for setting in content["settings"]:
        for run in setting["runs"]:
            if run["state"] != "not run":
                last = STEPS if run["state"] == "finished" else STEPS // 3
                write_lines(folder / run["folder"] / "metrics.jsonl", _metrics(setting["label"], run["seed"], last))
    return folder


def changed(content: dict[str, Any], label: str, seed: int, **facts: Any) -> dict[str, Any]:
    """A copy of `content` whose run of this setting and seed is changed."""
    copy: dict[str, Any] = json.loads(json.dumps(content))
    setting = next(one for one in copy["settings"] if one["label"] == label)
    next(run for run in setting["runs"] if run["seed"] == seed).update(facts)
    return copy


def _setting(label: str, seeds: tuple[int, ...]) -> dict[str, Any]:
    loss = LOSSES[label]
    means = {
        "train_loss": loss - 0.05, "validation_loss": loss, "perplexity": math.exp(loss), "bits_per_byte": loss / 2.7,
        "steps_to_target": 240.0 if label == "1e-4" else 180.0, "tokens_per_second": 7410.0, "cost": 0.42,
    }  # fmt: skip
    width = 0.01 if len(seeds) > 1 else None
    return {
        "label": label,
        "overrides": {"optimizer.learning_rate": float(label)},
        "runs": [
            {"seed": seed, "folder": f"runs/{label}-seed{seed}", "state": "finished", "reason": None, "values": means}
            for seed in seeds
        ],
        "summary": {
            name: {
                "mean": mean,
                "low": None if width is None else mean * (1 - width),
                "high": None if width is None else mean * (1 + width),
                "count": len(seeds),
            }
            for name, mean in means.items()
        },
    }


def _pair(a: str, b: str, difference: float, width: float, measure: str = "validation_loss") -> dict[str, Any]:
    return {
        "a": a, "b": b, "measure": measure, "difference": difference, "low": difference - width,
        "high": difference + width, "seeds": 3, "paired": True, "shown": abs(difference) > width,
    }  # fmt: skip


def _metrics(label: str, seed: int, last: int) -> list[dict[str, Any]]:
    noise = random.Random(f"{label}{seed}")
    moved = noise.gauss(0, 0.01)

    def record(kind: str, step: int, loss: float) -> dict[str, Any]:
        return {"kind": kind, "step": step, "tokens": STEP_TOKENS * step, "loss": loss}

    lines = []
    for step in range(1, last + 1):
        loss = LOSSES.get(label, 5.5) + moved + 3.0 * math.exp(-step / 30)
        lines.append(record("train", step, loss + noise.gauss(0, 0.05)))
        if step % 32 == 0:
            lines.append(record("validation", step, loss))
    return lines
