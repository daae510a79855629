"""Settings and records of the runs that several tests compare."""

from pathlib import Path
from typing import Any

from commands import sets

from megatron_recipe.files import read_jsonl

BATCH = 16
MODEL = (
    "model.num_layers=4",
    "model.hidden_size=64",
    "model.ffn_hidden_size=96",
    "model.num_heads=4",
    "model.num_kv_groups=2",
    "model.head_dim=16",
    "model.sequence_length_tokens=64",
    "model.init_std=0.1",  # far from uniform logits, so that a wrong layout shows
)


def arguments(dataset: Path, run_dir: Path, *overrides: str) -> list[object]:
    """Arguments of a run of the tiny recipe that ends at step 20, before `--set` of the test."""
    return [
        "--run-dir",
        run_dir,
        *sets(
            f"data.datasets={dataset}",
            *MODEL,
            f"batch.global_batch_size_samples={BATCH}",
            "batch.micro_batch_size_samples=2",
            "train.steps=20",
            "train.log_every_steps=1",
            "train.validate_every_steps=0",
            "train.validation_samples=16",
            "checkpoint.save_every_steps=0",
            "logging.tensorboard=false",
            *overrides,
        ),
    ]


def records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """The records of one kind in metrics.jsonl."""
    path = run_dir / "metrics.jsonl"
    return [record for record in read_jsonl(path) if record["kind"] == kind] if path.exists() else []
