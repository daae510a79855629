"""Evidence of training: runs that ended, their first steps, resumes, checkpoints, logs, speed, spikes, cost."""

from itertools import pairwise
from statistics import median
from typing import Any

from megatron_recipe.month.evidence import Found, Recogniser
from megatron_recipe.month.folder import Folder, Record
from megatron_recipe.month.of_machine import BIG, SMALL
from megatron_recipe.spending import SECONDS_PER_HOUR

FIRST_STEPS, LEAST_CHECKPOINTS = 1000, 3
WARM_RECORDS = 3
"""First records left out of speeds: they time start-up too."""
ANY_SIZE = (0.0, float("inf"))
ACCIDENTS = ("spike", "rollback", "update_skipped")


def run_of(folder: Folder, which: str) -> str:
    """A run's folder: `small`, `big`, `demo`, or `main`, the largest of them that was trained."""
    runs = {"small": folder.small, "big": folder.big, "demo": "runs/demo"}
    if which != "main":
        return runs[which]
    return next((run for run in (folder.big, folder.small, "runs/demo") if folder.metrics(run)), folder.big)


def run_ended(folder: Folder, which: str) -> Found | None:
    """A run that came to its end; the small and the big one must have the size of the plan, unless in miniature."""
    run = run_of(folder, which)
    records, ends = folder.metrics(run), folder.events(run, "end")
    environment = folder.record(f"{run}/environment.json")
    if not records or not ends:
        return None
    parameters: float = environment["parameters"]
    sizes: dict[str, tuple[float, float]] = {"small": SMALL, "big": BIG}
    low, high = sizes.get(which, ANY_SIZE)
    if folder.month.scale == "full" and not low <= parameters < high:
        return None
    held_out = folder.metrics(run, "validation")
    values = {
        "parameters": parameters / 1e6,
        "device": environment["device"],
        "steps": records[-1]["step"],
        "tokens": records[-1]["tokens"] / 1e6,
        "first": records[0]["loss"],
        "last": records[-1]["loss"],
        "held_out": held_out[-1]["loss"] if held_out else None,
        "hours": records[-1]["seconds"] / SECONDS_PER_HOUR,
    }
    return Found("run_ended", f"{run}/metrics.jsonl", values)


def first_steps(folder: Folder, which: str) -> Found | None:
    """The first 1,000 steps (of a run shorter than 10,000 a tenth), and what happened in them."""
    run = run_of(folder, which)
    steps = (folder.config(run).get("train") or {}).get("steps") or 10 * FIRST_STEPS
    wanted = min(FIRST_STEPS, max(1, steps // 10))
    records = [one for one in folder.metrics(run) if one["step"] <= wanted]
    if not records or folder.metrics(run)[-1]["step"] < wanted:
        return None
    accidents = [one for one in folder.events(run, *ACCIDENTS) if _step(one) <= wanted]
    values = {
        "steps": wanted,
        "first": records[0]["loss"],
        "last": records[-1]["loss"],
        "accidents": len(accidents),
        "minutes": records[-1]["seconds"] / 60,
    }
    return Found("first_steps", f"{run}/metrics.jsonl", values)


def _step(event: Record) -> int:
    return int(event["step"] if "step" in event else event["from_step"])


def resumed(folder: Folder, which: str) -> Found | None:
    """A run that was interrupted and went on from a checkpoint, with the losses on both sides."""
    for run in (run_of(folder, which), folder.big, folder.small, *folder.runs):
        events = folder.events(run, "start", "resume", "stopped", "failed", "end")
        for before, event in pairwise(events):
            if event["event"] != "resume":
                continue
            step = event["step"]
            earlier = [one for one in folder.metrics(run) if one["step"] <= step]
            later = [one for one in folder.metrics(run) if one["step"] > step]
            if not earlier or not later:
                continue
            reasons = {"stopped": str(before.get("reason", "")), "failed": "failed", "end": "stop"}
            values = {
                "step": step,
                "why": reasons.get(before["event"]) or "killed",
                "before_step": earlier[-1]["step"],
                "before": earlier[-1]["loss"],
                "after_step": later[0]["step"],
                "after": later[0]["loss"],
                "run": run,
            }
            return Found("resumed", f"{run}/events.jsonl", values)
    return None


def checkpoints(folder: Folder, which: str) -> Found | None:
    """Three checkpoints or more that are whole: those whose marker was written."""
    run = run_of(folder, which)
    markers = folder.found(f"{run}/checkpoints/step_*/checkpoint.json")
    if len(markers) < LEAST_CHECKPOINTS:
        return None
    steps = sorted({int(file.split("/")[-2].removeprefix("step_")) for file in markers})
    saved = folder.events(run, "checkpoint_saved")
    seconds = [one["seconds"] for one in saved if isinstance(one.get("seconds"), int | float)]
    values = {
        "count": len(steps),
        "steps": ", ".join(f"{step:,}" for step in steps[-5:]),
        "saves": len(saved),
        "seconds": median(seconds) if seconds else None,
    }
    return Found("checkpoints", markers[-1], values)


def logs(folder: Folder, which: str) -> Found | None:
    """What a run wrote down."""
    run = run_of(folder, which)
    lines, events = folder.lines(f"{run}/metrics.jsonl"), folder.events(run)
    if not lines or not events:
        return None
    boards = [one for one in folder.found(f"{run}/tensorboard/events.out*") if folder.has(one)]
    values = {"metrics": len(lines), "events": len(events), "boards": len(boards), "fields": len(_fields(lines))}
    return Found("logs", f"{run}/metrics.jsonl", values)


def _fields(lines: list[Record]) -> set[str]:
    return {name for line in lines for name in line}


def diagnosis(folder: Folder, which: str) -> Found | None:
    """What `megatron-recipe diagnose RUN --json` said of a run, kept below notes/."""
    name = run_of(folder, which).rpartition("/")[2]
    found = [(file, folder.record(file)) for file in folder.reports]
    ours = [(file, one) for file, one in found if "healthy" in one and str(one.get("run", "")).endswith(f"/{name}")]
    if not ours:
        return None
    file, newest = max(ours, key=lambda one: int(one[1]["step"]))
    states = [check["state"] for check in newest["checks"]]
    values = {
        "times": len(ours),
        "healthy": sum(bool(one["healthy"]) for _, one in ours),
        "step": newest["step"],
        "checks": len(states),
        "wrong": states.count("wrong"),
        "attention": states.count("attention"),
    }
    return Found("diagnosis", file, values)


def speed(folder: Folder, which: str) -> Found | None:
    """Tokens a second, and MFU where the device's peak is known."""
    run = run_of(folder, which)
    records = folder.metrics(run)[WARM_RECORDS:]
    rates = [one["tokens_per_second"] for one in records if one.get("tokens_per_second")]
    if not rates:
        return None
    environment = folder.record(f"{run}/environment.json")
    shares = [one["mfu_full"] for one in records if isinstance(one.get("mfu_full"), int | float)]
    causal = [one["mfu_causal"] for one in records if isinstance(one.get("mfu_causal"), int | float)]
    values = {
        "tokens_per_second": median(rates),
        "slowest": min(rates),
        "mfu": median(shares) if shares else None,
        "mfu_causal": median(causal) if causal else None,
        "device": environment.get("device", ""),
        "world_size": environment.get("world_size", 1),
        "parameters": environment["parameters"] / 1e6,
    }
    return Found("speed" if shares else "speed_without_mfu", f"{run}/metrics.jsonl", values)


def spike(folder: Folder, which: str) -> Found | None:
    """The gravest jump, and what the run did: one that was rolled back, else one of the loss, else the largest."""
    run = run_of(folder, which)
    events = folder.events(run)
    jumps = [at for at, one in enumerate(events) if one.get("event") in ("spike", "update_skipped") and _is_jump(one)]
    if not jumps:
        return None

    def gravity(at: int) -> tuple[bool, bool, float]:
        return _went_back(events, at) is not None, events[at].get("quantity") == "loss", events[at]["deviations"]

    place = max(jumps, key=gravity)
    worst, back = events[place], _went_back(events, place)
    again = next((one for one in folder.metrics(run) if one["step"] > worst["step"]), None)
    values = {
        "step": worst["step"],
        "quantity": worst.get("quantity") or "grad_norm",
        "value": worst["value"],
        "median": worst["median"],
        "deviations": worst["deviations"],
        "to_step": back["to_step"] if back else None,
        "skipped": back["skipped_stop"] - back["skipped_first"] if back else None,
        "after_step": again["step"] if again else None,
        "after": again["loss"] if again else None,
        "jumps": len(jumps),
    }
    skipped = worst["event"] == "update_skipped" or worst.get("action") == "skip"
    kind = "spike_rolled_back" if back and again else "spike_skipped" if skipped else "spike"
    return Found(kind, f"{run}/events.jsonl", values)


def _went_back(events: list[Record], at: int) -> Record | None:
    """The rollback that followed an event at once, where there was one."""
    after = events[at + 1 : at + 2]
    return after[0] if after and after[0].get("event") == "rollback" else None


def _is_jump(event: Record) -> bool:
    return all(isinstance(event.get(name), int | float) for name in ("step", "value", "median", "deviations"))


def feeding(folder: Folder, which: str) -> Found | None:
    """Tokens a parameter, beside the 20 of Hoffmann et al. (2022)."""
    run = run_of(folder, which)
    records, environment = folder.metrics(run), folder.record(f"{run}/environment.json")
    if not records or not environment:
        return None
    tokens, parameters = records[-1]["tokens"], environment["parameters"]
    values = {
        "tokens": tokens / 1e6,
        "parameters": parameters / 1e6,
        "ratio": tokens / parameters,
        "wanted": 20 * parameters / 1e6,
        "loss": records[-1]["loss"],
        "verdict": "below" if tokens < 20 * parameters else "above",
    }
    return Found("feeding", f"{run}/metrics.jsonl", values)


def bill(folder: Folder, which: str) -> Found | None:
    """Time and money of a run, over all its starts."""
    run = run_of(folder, which)
    instances: list[dict[str, Any]] = folder.record(f"{run}/spending.json").get("instances") or []
    records = folder.metrics(run)
    if not instances or not records:
        return None
    money = sum(one["seconds"] * one["price_per_hour"] for one in instances) / SECONDS_PER_HOUR
    values = {
        "hours": sum(one["seconds"] for one in instances) / SECONDS_PER_HOUR,
        "starts": len(instances),
        "money": money,
        "currency": str(instances[-1]["currency"]).upper(),
        "per_billion": money / records[-1]["tokens"] * 1e9,
    }
    return Found("bill" if money else "bill_without_price", f"{run}/spending.json", values)


TABLE: dict[str, Recogniser] = {
    "run_ended": run_ended,
    "first_steps": first_steps,
    "resumed": resumed,
    "checkpoints": checkpoints,
    "logs": logs,
    "diagnosis": diagnosis,
    "speed": speed,
    "spike": spike,
    "feeding": feeding,
    "bill": bill,
}
