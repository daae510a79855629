"""What a run must have in common with a reference, so that one loss curve says something about the other."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megatron_recipe.errors import ConfigError
from megatron_recipe.references import Reference
from megatron_recipe.settings import flat

Record = dict[str, Any]

SECTIONS = ("model", "optimizer", "schedule")
FIELDS = (
    "batch.global_batch_size_samples",
    "batch.ramp_up_from_samples",
    "batch.ramp_up_increment_samples",
    "batch.ramp_up_steps",
    "train.init_from",
)
MOST_NAMED = 6


def settings_of(config: Record) -> Record:
    """Of a run's configuration, what shapes its loss, by `section.field`; a value that it lacks is left out.

    Where it was computed, in what precision and how it was watched is left out too: a curve moves little for it.
    """
    values = flat(config)
    chosen = {name: value for name, value in values.items() if name.split(".")[0] in SECTIONS or name in FIELDS}
    if values.get("budget.amount"):  # the length, then, is what the budget buys
        return {**chosen, "budget.amount": values["budget.amount"], "budget.unit": values.get("budget.unit")}
    return {**chosen, **{name: values[name] for name in ("train.steps",) if name in values}}


def tokens_per_step(config: Record) -> int | None:
    """Tokens of a step of the full batch; None where the configuration does not say."""
    values = flat(config)
    factors = values.get("batch.global_batch_size_samples"), values.get("model.sequence_length_tokens")
    return factors[0] * factors[1] if factors[0] and factors[1] else None


def differences(reference: Reference, config: Record, parameters: int | None) -> list[str]:
    """What keeps a run from being compared with the reference, each as "name: here, there"; empty where nothing does.

    Args:
        config: of the run, as its config.yaml says it.
        parameters: of its model; None where they are not known.
    """
    found, own = [], settings_of(config)
    tokens = tokens_per_step(config)
    if tokens != reference.tokens_per_step:
        found.append(f"tokens a step {_number(tokens)} here and {reference.tokens_per_step:,} there")
    names = [name for name in own if name in reference.settings or name.startswith("budget.")]
    found += [
        f"{name} {own[name]} here and {reference.settings.get(name, 'not set')} there"
        for name in names
        if own[name] != reference.settings.get(name)
    ]
    if not found and parameters is not None and parameters != reference.parameters:
        found.append(f"parameters {parameters:,} here and {reference.parameters:,} there: another vocabulary")
    return found


def check_comparable(reference: Reference, folder: Path, config: Record, parameters: int | None) -> None:
    """Raise ConfigError, naming what differs, where the run in `folder` cannot be compared with the reference."""
    found = differences(reference, config, parameters)
    if found:
        more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise ConfigError(
            f"--reference {reference.name}: {folder} is another kind of run: {'; '.join(found[:MOST_NAMED])}{more}; "
            f"leave --reference out, or make one of such runs: megatron-recipe lab reference RUN RUN --out FILE "
            f"(this one's are made by: {reference.command})"
        )


def datasets_of(config: Record, folder: Path) -> list[Record]:
    """Name, training tokens and SHA-256 of the datasets of a run; those that are not there any more have only a name.

    Args:
        folder: of the run; a relative path is looked for from here and from the project that holds runs/.
    """
    entries = (config.get("data") or {}).get("datasets") or []
    return [_dataset(str(entry["path"]), folder) for entry in entries if isinstance(entry, dict) and "path" in entry]


def other_text(reference: Reference, datasets: Iterable[Record]) -> bool:
    """Whether these datasets are known to be others than the reference's, so that the loss may lie elsewhere."""
    there = {one.get("sha256") for one in reference.datasets}
    return None not in there and any(one.get("sha256") not in (None, *there) for one in datasets)


def _dataset(path: str, folder: Path) -> Record:
    for base in (Path(), folder.absolute().parent.parent):
        try:
            manifest = json.loads((base / path / "manifest.json").read_text(encoding="utf-8"))
            train = manifest["splits"]["train"]
            return {"name": Path(path).name, "train_tokens": train["tokens"], "sha256": train["sha256"]["bin"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {"name": Path(path).name}


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
