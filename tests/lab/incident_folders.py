"""Folders of an incident's runs, made of numbers: what the lab reads without a trainer having run."""

import json
import math
from pathlib import Path
from typing import Any

from megatron_recipe.lab.incident import Incident, read_incident
from megatron_recipe.lab.incident_plan import Asked, Case, make_case
from megatron_recipe.loggers.records import append_record
from megatron_recipe.recipes import write_config

EVERY = 4


def made_case(which: str | Incident, dataset: Path, folder: Path, **options: Any) -> Case:
    """The runs of an incident, ready or given, planned and not done."""
    incident = read_incident(which) if isinstance(which, str) else which
    asked = Asked(
        overrides=(("data.datasets", [{"path": str(dataset)}]), ("model.sequence_length_tokens", 64)), **options
    )
    return make_case(incident, asked, folder / incident.name, folder / "controls", "cpu")


def write_run(folder: Path, case: Case, role: str, last: str = "end", **fields: Any) -> None:
    """A healthy run of the case's length, with some fields of its records spoiled.

    fields: values, or functions of step and healthy value; `held_out` is the last held-out loss.
    """
    act = case.acts[role]  # type: ignore[index]
    folder.mkdir(parents=True)
    write_config(act.config, folder / "config.yaml")
    (folder / "environment.json").write_text(json.dumps({"device": "cpu", "git": "abc123", "world_size": 1}))
    steps = act.config.train.steps
    tokens = act.config.batch.global_batch_size_samples * act.config.model.sequence_length_tokens
    append_record(folder / "events.jsonl", {"event": "start", "step": 0})
    for step in range(EVERY, steps + 1, EVERY):
        loss = 6.2 + 2.0 * math.exp(-step / 30)
        record: dict[str, Any] = {
            "kind": "train", "step": step, "samples": step * 8, "tokens": step * tokens, "loss": loss,
            "seconds": step / 3, "loss_mean": loss,
            "loss_max": loss + 0.05, "loss_jitter": 0.06, "grad_norm": 0.6, "grad_norm_max": 0.8,
            "clipped_share": 0.0, "update_ratio": 0.02, "zero_grad_share": 0.0, "activation_rms_last": 12.0,
            "attention_logit_max": 30.0, "logit_max": 6.0, "tokens_per_second": 3000.0, "loss_scale": None,
            "updates_left_out": 0,
        }  # fmt: skip
        for name, value in fields.items():
            if name in record:
                record[name] = value(step, record[name]) if callable(value) else value
        append_record(folder / "metrics.jsonl", record)
    held_out = fields.get("held_out", 6.3)
    if held_out is not None:
        append_record(folder / "metrics.jsonl", {"kind": "validation", "step": steps, "loss": held_out})
    append_record(
        folder / "events.jsonl", {"event": last, "step": steps, **({"error": "lost"} if last == "failed" else {})}
    )
