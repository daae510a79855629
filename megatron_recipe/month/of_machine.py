"""Evidence of the machine and its instruments: what doctor and plan printed, TensorBoard, W&B, GPU readings."""

import re
from statistics import median
from typing import Any

from megatron_recipe.month.evidence import Found, Recogniser
from megatron_recipe.month.folder import Folder

OF_DOCTOR = "megatron-core"
"""A check that the doctor makes and the checklist does not."""
SMALL, BIG = (70e6, 900e6), (900e6, 2e9)
"""Parameters of the plan's two models, from and to: gpt_100m with a vocabulary of 4,096 has 79M."""


def _checks(folder: Folder, *, of_doctor: bool) -> tuple[str, list[dict[str, Any]]] | None:
    found = None
    for file in folder.reports:
        content = folder.json(file)
        if not isinstance(content, list) or not all(isinstance(one, dict) and "status" in one for one in content):
            continue
        if content and (OF_DOCTOR in [one["name"] for one in content]) == of_doctor:
            found = (file, content)
    return found


def doctor(folder: Folder, _: str) -> Found | None:
    """`megatron-recipe doctor --json`, kept below notes/."""
    return _judged("doctor", _checks(folder, of_doctor=True))


def checklist(folder: Folder, _: str) -> Found | None:
    """`megatron-recipe doctor RECIPE --checklist --json`, kept below notes/."""
    return _judged("checklist", _checks(folder, of_doctor=False))


def _judged(kind: str, found: tuple[str, list[dict[str, Any]]] | None) -> Found | None:
    if found is None:
        return None
    file, checks = found
    count = {status: sum(one["status"] == status for one in checks) for status in ("ok", "warn", "fail")}
    failed = ", ".join(one["name"] for one in checks if one["status"] == "fail")
    device = next((str(one["found"]).partition(":")[0] for one in checks if one["name"] == "device"), "")
    return Found(kind, file, {"checks": len(checks), **count, "failed": failed, "device": device})


def plan(folder: Folder, size: str) -> Found | None:
    """`megatron-recipe plan RECIPE --json` of a recipe of that size, kept below notes/."""
    low, high = {"small": SMALL, "big": BIG}[size]
    for file in reversed(folder.reports):
        content = folder.record(file)
        if "chinchilla_tokens" not in content or not low <= content["parameters"]["total"] < high:
            continue
        priced = [one for one in content["costs"] if one["offer"]["gpu"] == content["hardware"]["name"]]
        cheapest = min(priced, key=lambda one: float(one["cny"])) if priced else None
        values = {
            "recipe": content["recipe"],
            "parameters": content["parameters"]["total"] / 1e6,
            "card": content["hardware"]["card"],
            "gpus": content["gpus"],
            "memory": content["memory"]["total"] / 1e9,
            "tokens": content["tokens"] / 1e9,
            "chinchilla": content["chinchilla_tokens"] / 1e9,
            "mfu": content["mfu"]["percent"],
            "days": content["days"],
            "cny": cheapest["cny"] if cheapest else None,
            "platform": cheapest["offer"]["platform"] if cheapest else "",
        }
        return Found("plan", file, values)
    return None


def tensorboard(folder: Folder, _: str) -> Found | None:
    """TensorBoard's event files of any run."""
    files = [one for one in folder.found("runs/*/tensorboard/events.out*") if folder.has(one)]
    return Found("tensorboard", files[-1], {"files": len(files), "kb": folder.size(files[-1]) / 1e3}) if files else None


def wandb(folder: Folder, _: str) -> Found | None:
    """A run that also went to W&B, online or kept offline."""
    for file in folder.found("runs/*/wandb_run.json"):
        run = file.rpartition("/")[0]
        offline = len(folder.found(f"{run}/wandb/offline-run-*/run-*.wandb"))
        match = re.search(r'"id": "(\w+)"', folder.text(file))
        if match:
            return Found("wandb", file, {"id": match.group(1), "offline": offline})
    return None


def gpu_readings(folder: Folder, _: str) -> Found | None:
    """Readings of the GPU in a run's records."""
    for run in (folder.big, folder.small, *folder.runs):
        records = [one for one in folder.metrics(run) if isinstance(one.get("gpu_utilisation_mean"), int | float)]
        if records:
            values = {
                "utilisation": median(one["gpu_utilisation_mean"] for one in records),
                "watts": median(one.get("gpu_power_watts", 0.0) for one in records),
                "celsius": max(one.get("gpu_temperature_max", 0.0) for one in records),
                "memory": max(one.get("memory_gb") or 0.0 for one in records),
                "records": len(records),
            }
            return Found("gpu_readings", f"{run}/metrics.jsonl", values)
    return None


TABLE: dict[str, Recogniser] = {
    "doctor": doctor,
    "checklist": checklist,
    "plan": plan,
    "tensorboard": tensorboard,
    "wandb": wandb,
    "gpu_readings": gpu_readings,
}
