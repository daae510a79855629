"""Run folders for `diagnose`, made of numbers: a healthy run on a GPU, to be spoiled."""

import itertools
import json
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from megatron_recipe.diagnose.schedule import planned_rate

Record = dict[str, Any]

STEPS, EVERY, BATCH, LENGTH, WORDS = 2_000, 10, 128, 2_048, 32_000


@dataclass
class Made:
    """A run as it will be written; a test spoils a part of it."""

    config: Record
    train: list[Record]
    validation: list[Record]
    events: list[Record]
    environment: Record = field(default_factory=lambda: {"device": "NVIDIA H100 80GB HBM3", "world_size": 8})
    manifest: Record = field(
        default_factory=lambda: {
            "tokenizer": {"vocab_size": WORDS},
            "splits": {"train": {"tokens": 2_000_000_000}},
        }
    )

    def spoil(self, first: int, last: int = STEPS, **values: Any) -> None:
        """Set fields of the training records of some steps; a function is given the value that was there."""
        for record in self.train:
            if first <= record["step"] <= last:
                for name, value in values.items():
                    record[name] = value(record.get(name)) if callable(value) else value


def healthy(seed: int = 0, steps: int = STEPS) -> Made:
    """A run of the 100M recipe on 8 GPUs that ended well, with a noise of its own for each seed."""
    noise = random.Random(seed)
    config = {
        "model": {
            "hidden_size": 768,
            "sequence_length_tokens": LENGTH,
            "init_std": 0.02,
        },
        "data": {"datasets": [{"path": "datasets/main", "weight": 1.0}], "num_workers": 2},
        "batch": {"global_batch_size_samples": BATCH, "micro_batch_size_samples": 16},
        "optimizer": {"kind": "adamw", "clip_grad_norm": 1.0, "weight_decay": 0.1},
        "schedule": {
            "peak_learning_rate": 1e-3,
            "min_learning_rate": 1e-4,
            "warmup_fraction": 0.02,
            "decay": "cosine",
        },
        "train": {"steps": STEPS, "log_every_steps": EVERY},
        "memory": {"recompute": "none"},
        "precision": {"dtype": "bf16"},
        "checkpoint": {"save_every_steps": 500},
    }
    made = Made(config, [], [], [{"event": "start", "step": 0, "micro_batch": 16}])
    for step in range(EVERY, steps + 1, EVERY):
        made.train.append(_train_record(config, step, noise))
        if step % 200 == 0:
            made.validation.append(
                {"kind": "validation", "step": step, "loss": _loss(step) + 0.02 + noise.gauss(0, 0.004)}
            )
        if step % 500 == 0:
            made.events.append(
                {"event": "checkpoint_saved", "step": step, "kind": "regular", "bytes": 1_400_000_000, "seconds": 3.0}
            )
    made.events.append({"event": "end", "step": steps})
    return made


def _loss(step: int) -> float:
    return 2.9 + 7.4 * math.exp(-step / 120) + 0.6 * math.exp(-step / 900)


def _train_record(config: Record, step: int, noise: random.Random) -> Record:
    steps = [_loss(one) + noise.gauss(0, 0.03) for one in range(step - EVERY + 1, step + 1)]
    norm = 0.25 + 2 * math.exp(-step / 60) + abs(noise.gauss(0, 0.05))
    rate = planned_rate(config, step * BATCH) or 0.0
    jitter = math.sqrt(sum((b - a) ** 2 for a, b in itertools.pairwise(steps)) / (len(steps) - 1) / 2)
    logit = 3 + 9 * (1 - math.exp(-step / 300)) + noise.gauss(0, 0.3)
    first = {"initial_loss": math.log(WORDS) + 0.08} if step == EVERY else {}
    return {
        "kind": "train", "step": step, "samples": step * BATCH, "tokens": step * BATCH * LENGTH, "loss": steps[-1],
        "learning_rate": rate, "grad_norm": norm, "loss_scale": None, "step_seconds": 0.9,
        "tokens_per_second": 290_000 + noise.gauss(0, 2_000), "mfu_full": 0.47 + noise.gauss(0, 0.004),
        "memory_reserved_gb": 68.0, "memory_card_gb": 85.0, "gpu_utilisation_mean": 97 + noise.gauss(0, 1),
        "gpu_temperature_max": 66, "gpu_ecc_errors": 0, "host_memory_percent": 31.0, "shared_memory_percent": 2.0,
        "disk_free_gb": 400.0,
        "forward_seconds_slowest": 0.051, "forward_seconds_median": 0.05, "data_wait_share": 0.004,
        "loss_mean": sum(steps) / len(steps), "loss_max": max(steps), "loss_jitter": jitter,
        "grad_norm_max": norm + abs(noise.gauss(0, 0.1)), "clipped_share": 0.8 if step < 60 else 0.0,
        "updates_left_out": 0, "update_ratio": 0.02 * rate / 1e-3 + 1e-4, "weight_rms_norms": 1 - step / 20_000,
        "zero_grad_share": 0.0, "attention_logit_max": logit, "logit_max": logit + 4,
        "activation_rms_last": 1 + 6 * (1 - math.exp(-step / 400)), **first,
    }  # fmt: skip


def write(made: Made, project: Path) -> Path:
    """Write project/runs/gpt and its dataset; returns the run folder."""
    folder, dataset = project / "runs/gpt", project / "datasets/main"
    folder.mkdir(parents=True)
    dataset.mkdir(parents=True)
    (dataset / "manifest.json").write_text(json.dumps(made.manifest))
    (folder / "config.yaml").write_text(yaml.safe_dump(made.config))
    (folder / "environment.json").write_text(json.dumps(made.environment))
    records = sorted([*made.train, *made.validation], key=lambda record: record["step"])
    for name, lines in (("metrics", records), ("events", made.events)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
