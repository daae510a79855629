"""Runs of the real trainer that are measured from outside, by the records that it writes for its user.

A run is `megatron-recipe train` in a process of its own: loader processes, guard, TensorBoard, NVML readings, all that
a user has. It is killed when enough steps are in metrics.jsonl: the checkpoint at its end, 14 bytes a parameter, would
take longer than the measurement.
"""

import shutil
from pathlib import Path
from typing import Any

from benchmarks import child
from megatron_recipe.files import read_jsonl
from megatron_recipe.plan.hardware import GIB

SCHEDULE_STEPS = 1_000
NOTHING_BESIDE = (
    f"train.steps={SCHEDULE_STEPS}",
    "train.validate_every_steps=0",
    "checkpoint.save_every_steps=0",
    "checkpoint.save_every_minutes=0",
)


def measure_trainer(
    recipe: str, overrides: list[str], folder: Path, *, interval: int, steps: int, seconds: float
) -> dict[str, Any]:
    """Step times over `steps` steps, in means of `interval` steps, after a first interval to warm up.

    A record reads the GPU's and the machine's counters and writes files. With one after every step each step would pay
    for one; a user has one every ten. So records are `interval` steps apart, and a time is a mean of so many steps with
    one record among them.
    """
    wanted = steps // interval + 1
    asked = [*NOTHING_BESIDE, f"train.log_every_steps={interval}", *overrides]
    run_trainer(recipe, asked, folder, seconds, lambda: len(records(folder)) >= wanted)
    warm_up, *timed = records(folder)[:wanted]
    last, peak = timed[-1], timed[-1]["memory_gb"]
    started = events(folder, "start")[0]
    result: dict[str, Any] = {
        "step_seconds": [record["step_seconds"] for record in timed],
        "tokens": (last["tokens"] - warm_up["tokens"]) // (last["step"] - warm_up["step"]),
        "peak_gib": peak and peak * 1e9 / GIB,
        "loss": last["loss"],
        "data_wait_share": max(record["data_wait_share"] for record in timed),
        **{name: started[name] for name in ("micro_batch", "layers", "optimizer")},
    }
    shutil.rmtree(folder)
    return result


def run_trainer(recipe: str, overrides: list[str], folder: Path, seconds: float, is_done: Any) -> None:
    """Train in a new folder until `is_done()`. Raises child.Failed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = ["-m", "megatron_recipe.cli", "train", recipe, "--run-dir", str(folder.absolute())]
    command += [word for override in overrides for word in ("--set", override)]
    child.run(command, folder.with_suffix(".log"), seconds, is_done)


def records(folder: Path) -> list[dict[str, Any]]:
    """Those of steps so far."""
    path = folder / "metrics.jsonl"
    return [record for record in read_jsonl(path) if record["kind"] == "train"] if path.exists() else []


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Those of one kind so far."""
    path = folder / "events.jsonl"
    return [event for event in read_jsonl(path) if event["event"] == kind] if path.exists() else []
