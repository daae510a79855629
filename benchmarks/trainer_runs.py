"""Runs of the real trainer that are measured from outside, by the records that it writes for its user.

A run is `megatron-recipe train` in a process of its own: loader processes, guard, TensorBoard, NVML readings, all that
a user has. It is killed when enough steps are in metrics.jsonl: the checkpoint at its end, 14 bytes a parameter, would
take longer than the measurement.
"""

import shutil
import statistics
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


def measure_saves(
    recipe: str, overrides: list[str], folder: Path, *, every: int, saves: int, seconds: float
) -> dict[str, Any]:
    """What checkpoints in the background cost: `saves` of them, one every `every` steps. A process's first is slowest.

    Each step is recorded, so that those beside a save can be told from the others. The cost is what a save blocked plus
    what the steps beside it took longer than the median of those before the first save.
    """
    during: list[tuple[int, int]] = []

    def is_done() -> bool:
        for event in events(folder, "checkpoint_saved")[len(during) :]:
            during.append((event["step"], records(folder)[-1]["step"]))
        return len(during) >= saves

    asked = [
        *NOTHING_BESIDE,
        "train.log_every_steps=1",
        f"checkpoint.save_every_steps={every}",
        "checkpoint.keep_last=1",
        *overrides,
    ]
    run_trainer(recipe, asked, folder, seconds, is_done)
    times = {record["step"]: record["step_seconds"] for record in records(folder)}
    usual = statistics.median(seconds for step, seconds in times.items() if every // 2 < step <= every)
    found = []
    for (first, last), event in zip(during, events(folder, "checkpoint_saved"), strict=False):
        slower = sum(times[step] - usual for step in range(first + 1, last + 1) if step in times)
        found.append(
            {
                "step": first,
                "steps_beside": last - first,
                "blocked_seconds": event["blocked_seconds"],
                "slower_seconds": slower,
                "cost_in_steps": (event["blocked_seconds"] + slower) / usual,
                "seconds": event["seconds"],
                "gb": event["bytes"] / 1e9,
            }
        )
    shutil.rmtree(folder)
    return {"usual_step_seconds": usual, "saves": found}


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
