"""A run folder to which everything happened that can: made of chosen numbers, for the tests of `report` and `watch`."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

Record = dict[str, Any]

STEPS, LOG_EVERY, BATCH_TOKENS = 12_000, 10, 1_048_576
SPIKE, TARGET = 5_430, 5_000
"""The step of the loss spike, and the checkpoint that the run went back to."""
RISE_STEPS = 160
SKIPPED = (TARGET * 256, SPIKE * 256 + 512)
STEP_SECONDS, PRICE_PER_HOUR = 2.45, 14.5
BEGAN = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CONFIG: Record = {
    "model": {
        "num_layers": 16, "hidden_size": 2048, "ffn_hidden_size": 8192, "num_heads": 16, "num_kv_groups": 4,
        "head_dim": 128, "sequence_length_tokens": 4096,
    },
    "data": {"datasets": [{"path": "datasets/mix", "weight": 1.0}], "seed": 1234},
    "batch": {"global_batch_size_samples": 256, "micro_batch_size_samples": 8},
    "optimizer": {"clip_grad_norm": 1.0},
    "schedule": {"peak_learning_rate": 4e-4, "decay": "wsd"},
    "train": {"steps": STEPS, "log_every_steps": LOG_EVERY},
    "precision": {"dtype": "fp16"},
    "checkpoint": {"save_every_steps": 1000, "milestone_every_steps": 4000},
    "budget": {"amount": 150.0, "unit": "cny", "price_per_hour": PRICE_PER_HOUR, "currency": "cny"},
}  # fmt: skip
ENVIRONMENT: Record = {
    "started": "2026-11-20T08:00:00+0000", "torch": "2.11.0+cu130", "megatron_core": "0.19.2",
    "transformer_engine": "2.20.2", "device": "NVIDIA H100 80GB HBM3", "world_size": 8, "parameters": 1_039_204_352,
    "python": "3.12.11", "driver": "580.65.06", "host": "gpu-7", "git": "707f586",
}  # fmt: skip


def loss_at(step: int, noise: random.Random) -> float:
    """A loss that falls from 10.4 to about 2.4, with a spike at SPIKE on the first pass."""
    return 2.35 + 8.0 * math.exp(-step / 260) + 0.9 * math.exp(-step / 3000) + noise.gauss(0, 0.02)


def spike_loss(step: int) -> float:
    """The loss on the way up to the spike."""
    return 2.53 + 2.0 * ((step - SPIKE + RISE_STEPS) / RISE_STEPS) ** 2


def train_record(step: int, noise: random.Random, loss: float | None = None) -> Record:
    """The record of one step, with every field that the trainer may write."""
    warm, left = min(1.0, step / 240), (STEPS - step) / STEPS
    speed = 427_000 + noise.gauss(0, 2_500) - (60_000 if 8_000 < step < 8_300 else 0)
    per_gpu = speed / 8
    return {
        "kind": "train", "step": step, "samples": 256 * step, "position": 256 * step, "tokens": BATCH_TOKENS * step,
        "seconds": 40 + STEP_SECONDS * step, "loss": loss_at(step, noise) if loss is None else loss,
        "learning_rate": 4e-4 * warm * min(1.0, left / 0.2), "grad_norm": 0.3 + 3 * math.exp(-step / 90)
        + abs(noise.gauss(0, 0.04)) + (0 if loss is None else 20 * max(loss - 3, 0)),
        "loss_scale": 65536.0 * (2 if step > 6_000 else 1), "step_seconds": BATCH_TOKENS / speed,
        "tokens_per_second": speed, "tokens_per_second_per_gpu": per_gpu, "tflops_per_gpu": per_gpu * 7.85e-3,
        "mfu_full": per_gpu * 7.85e-3 / 989.4, "mfu_causal": per_gpu * 7.05e-3 / 989.4,
        "memory_gb": 70.4, "memory_reserved_gb": 74.1, "gpu_utilisation_mean": 97 + noise.gauss(0, 1),
        "gpu_power_watts": 8 * 655 + noise.gauss(0, 60), "gpu_temperature_max": 64 + noise.gauss(0, 1),
        "joules_per_token": 8 * 655 / speed, "data_wait_seconds": abs(noise.gauss(0.004, 0.002)),
        "host_memory_used_gb": 88.2, "disk_free_gb": 900 - step / 40,
        "cost_so_far": (40 + STEP_SECONDS * step) / 3600 * PRICE_PER_HOUR,
        "eta_seconds": STEP_SECONDS * (STEPS - step),
        "forward_seconds_slowest": 0.81 + abs(noise.gauss(0, 0.01)) + (0.2 if 8_000 < step < 8_300 else 0),
        "forward_seconds_fastest": 0.78, "forward_seconds_median": 0.795, "slowest_rank": 5, "gpu_ecc_errors": 0,
    }  # fmt: skip


def validation_record(step: int, name: str, above: float) -> Record:
    """A held-out loss a little above the training loss."""
    loss = 2.36 + 8.0 * math.exp(-step / 260) + 0.9 * math.exp(-step / 3000) + above
    return {
        "kind": f"validation/{name}" if name else "validation", "step": step, "tokens": BATCH_TOKENS * step,
        "seconds": 40 + STEP_SECONDS * step, "loss": loss, "perplexity": math.exp(loss),
        "bits_per_byte": loss / math.log(2) / 3.9,
    }  # fmt: skip


def metrics(last: int) -> list[Record]:
    """All records up to step `last` as they were written: the attempt that was rolled back, then the others."""
    noise = random.Random(11)
    records = []

    def passes(first: int, stop: int, spike: bool = False) -> None:
        for step in range(first, min(stop, last) + 1, LOG_EVERY):
            rising = spike and step > SPIKE - RISE_STEPS
            records.append(train_record(step, noise, spike_loss(step) if rising else None))
            if step % 500 == 0:
                sets = (("", 0.03), ("code", -0.62), ("web-zh", 0.41))
                records.extend(validation_record(step, name, above) for name, above in sets)

    passes(LOG_EVERY, SPIKE, spike=True)
    passes(TARGET + LOG_EVERY, STEPS)
    return records


def events(last: int) -> list[Record]:
    """What happened up to step `last`."""

    def at(moment: float, event: str, **facts: Any) -> Record:
        time = BEGAN + timedelta(seconds=40 + STEP_SECONDS * moment)
        return {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts}

    found = [
        at(0, "out_of_memory", micro_batch=16, next=8),
        at(0, "start", step=0, optimizer="TE FusedAdam", world_size=8),
        at(2_210, "update_skipped", step=2_210, reason="gradient spike", value=31.2, median=0.35, deviations=44.1),
        at(3_000, "stopped", step=3_000, reason="SIGTERM"),
        at(3_040, "resume", step=3_000, world_size=8),
        at(SPIKE, "spike", step=SPIKE, quantity="loss", value=spike_loss(SPIKE), median=2.553, deviations=21.7,
           action="rollback"),
        at(SPIKE, "rollback", from_step=SPIKE, to_step=TARGET, skipped_first=SKIPPED[0], skipped_stop=SKIPPED[1],
           attempt=1, quantity="loss"),
        at(8_010, "straggler", rank=5, forward_seconds=1.02, ratio_to_median=1.31, records=5),
        at(9_000, "checkpoint_failed", step=9_000, reason="the disk is full (3,120 MB free, 14,549 MB needed)"),
        at(9_600, "budget_warning", spent=120.1, amount=150.0, unit="cny"),
        at(9_600, "decay_started", step=9_600),
    ]  # fmt: skip
    found += [
        at(step, "checkpoint_saved", step=step, folder=f"checkpoints/step_{step:08d}", seconds=21.4 + step / 4000,
           blocked_seconds=0.62, bytes=14_549_000_000, kind="milestone" if step % 4000 == 0 else "regular")
        for step in range(1000, STEPS + 1, 1000)
        if step != 9_000
    ]  # fmt: skip
    if last >= STEPS:
        found.append(at(STEPS, "end", step=STEPS))
    order = sorted(found, key=lambda event: event["time"])
    return [event for event in order if event.get("step", event.get("from_step", 0)) <= last]


def write_eventful_run(folder: Path, last: int = STEPS) -> Path:
    """Write the run as it stands after step `last`."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT), encoding="utf-8")
    for name, lines in (("metrics", metrics(last)), ("events", events(last))):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    seconds = 40 + STEP_SECONDS * last
    instance = {
        "began": ENVIRONMENT["started"],
        "seconds": seconds,
        "price_per_hour": PRICE_PER_HOUR,
        "currency": "cny",
    }
    (folder / "spending.json").write_text(json.dumps({"instances": [instance]}), encoding="utf-8")
    kept = [step for step in range(1000, last + 1, 1000) if step != 9_000 and (step % 4000 == 0 or step > last - 3000)]
    for step in kept:
        marker = folder / "checkpoints" / f"step_{step:08d}" / "checkpoint.json"
        marker.parent.mkdir(parents=True)
        loss = validation_record(step, "", 0.03)["loss"]
        facts = {"step": step, "kind": "milestone" if step % 4000 == 0 else "regular", "validation_loss": loss}
        marker.write_text(json.dumps({**facts, "integrity_sha256": "ab" * 32}), encoding="utf-8")
    return folder
