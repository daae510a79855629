"""Read what a run folder, its datasets and its exports say, without judging or formatting it."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from megatron_recipe.errors import DataError, no_run
from megatron_recipe.files import read_jsonl

Record = dict[str, Any]

NAMED_SET, BENCHMARK = "validation/", "eval/"
WRITTEN_ONCE = ("spending.json", "environment.json")


@dataclass(frozen=True)
class Dataset:
    """One dataset of the blend; `manifest` is None where its folder is gone or was never finished."""

    path: str
    weight: float
    manifest: Record | None


@dataclass(frozen=True)
class Run:
    """Everything known about one run; a part that was not made is None or empty.

    `train`, `validation` and `validation_sets` hold the latest pass over each step (see `latest_pass`); `logged` holds
    every line, and `given_up` the stretches of training records that a rollback took back.
    """

    folder: Path
    config: Record
    config_text: str
    environment: Record
    logged: list[Record]
    train: list[Record]
    validation: list[Record]
    validation_sets: dict[str, list[Record]]
    """Records of the held-out sets that have names, besides that of the mix."""
    benchmarks: dict[str, list[Record]]
    """Records of the benchmarks that were evaluated while the run trained."""
    given_up: list[list[Record]]
    checkpoints: dict[str, Record]
    """Markers of the checkpoints that are still there, by folder name."""
    spending: list[Record]
    """Time and price of each instance of the run, from spending.json."""
    events: list[Record]
    datasets: list[Dataset]
    perplexity: Record | None
    samples: Record | None
    exports: list[Record]

    def contents(self) -> dict[str, str]:
        """What was found, part by part, in words."""
        found = [dataset.path for dataset in self.datasets if dataset.manifest]
        return {
            "metrics": f"{len(self.train):,} training and {len(self.validation):,} validation records",
            "events": f"{len(self.events):,}",
            "datasets": ", ".join(found) or "none found",
            "perplexity": "found" if self.perplexity else "not run",
            "samples": f"{len(self.samples['samples']):,}" if self.samples else "not run",
            "exports": f"{len(self.exports):,}" if self.exports else "not run",
        }


def read_run(folder: Path) -> Run:
    """Read the run in `folder`; DataError where it is no run or where one of its files is damaged."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such run folder; `megatron-recipe train` makes runs/<name>")
    config_file = folder / "config.yaml"
    if not config_file.is_file():
        raise no_run(folder)
    config_text, config = _read_config(config_file)
    logged = _read_lines(folder / "metrics.jsonl", ("kind", "step"), _numbers_of_kind)
    latest = latest_pass(logged)
    return Run(
        folder=folder,
        config=config,
        config_text=config_text,
        environment=_read_json(folder / "environment.json") or {},
        logged=logged,
        train=[record for record in latest if record["kind"] == "train"],
        validation=[record for record in latest if record["kind"] == "validation"],
        validation_sets=_by_name(latest, NAMED_SET),
        benchmarks=_by_name(latest, BENCHMARK),
        given_up=given_up(logged),
        checkpoints=_read_markers(folder / "checkpoints"),
        spending=list((_read_json(folder / "spending.json") or {}).get("instances") or []),
        events=_read_lines(folder / "events.jsonl", ("event",)),
        datasets=[_read_dataset(entry, folder, config_file) for entry in _dataset_entries(config)],
        perplexity=_read_json(folder / "eval" / "perplexity.json", "splits", "by_source"),
        samples=_read_json(folder / "eval" / "samples.json", "samples"),
        exports=_read_exports(folder),
    )


def latest_pass(records: list[Record]) -> list[Record]:
    """The records that still count, by step: a resume or a rollback computes some steps again.

    A record at step s makes all earlier ones beyond s void, and the earlier one of its kind at s.
    """
    kept: dict[tuple[int, str], Record] = {}
    newest = -1
    for record in records:
        step, kind = record["step"], record["kind"]
        if step < newest:
            kept = {key: value for key, value in kept.items() if key[0] <= step}
        kept[step, kind] = record
        newest = step
    return [kept[key] for key in sorted(kept)]


def _by_name(records: list[Record], prefix: str) -> dict[str, list[Record]]:
    """Records whose kind begins with `prefix`, by the rest of it."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"].startswith(prefix):
            found.setdefault(record["kind"].removeprefix(prefix), []).append(record)
    return found


def _numbers_of_kind(record: Record) -> tuple[str, ...]:
    """The fields that a record of metrics.jsonl must have besides its kind and its step."""
    if str(record["kind"]).startswith(BENCHMARK):
        return ("metric", "chance", "questions", str(record.get("metric")))
    return ("loss",)


def given_up(records: list[Record]) -> list[list[Record]]:
    """The stretches of training records that a rollback made void, each from the record before it, in their order."""
    found: list[list[Record]] = []
    current: list[Record] = []
    for record in records:
        if record["kind"] != "train":
            continue
        first = len(current)
        while first and current[first - 1]["step"] >= record["step"]:
            first -= 1
        if first < len(current):
            found.append(current[max(first - 1, 0) :])
            del current[first:]
        current.append(record)
    return found


def _read_config(path: Path) -> tuple[str, Record]:
    try:
        text = path.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path} is damaged: {error}; restore it from a copy of the run") from error
    if not isinstance(config, dict):
        raise DataError(f"{path} holds no configuration (sections such as model and data); restore it from a copy")
    return text, config


def _read_json(path: Path, *required: str) -> Record | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is no valid JSON ({error}); {_remedy(path)}") from error
    missing = [key for key in required if not isinstance(value, dict) or key not in value]
    if missing or not isinstance(value, dict):
        raise DataError(f"{path} lacks {', '.join(missing) or 'its fields'}; {_remedy(path)}")
    return value


def _remedy(path: Path) -> str:
    """What training wrote as it went cannot be made again."""
    if path.name in WRITTEN_ONCE:
        return "restore it from a copy of the run, or move it away: what it held is then not measured"
    return "delete it and make it again"


def _read_markers(checkpoints: Path) -> dict[str, Record]:
    """A damaged marker counts as empty: the report says what is there, and the trainer judges it."""
    markers: dict[str, Record] = {}
    for path in sorted(checkpoints.glob("step_*/checkpoint.json")):
        try:
            marker = json.loads(path.read_bytes())
        except ValueError:
            marker = {}
        markers[path.parent.name] = marker if isinstance(marker, dict) else {}
    return markers


def _nothing_more(record: Record) -> tuple[str, ...]:
    return ()


def _read_lines(
    path: Path, required: tuple[str, ...], of_record: Callable[[Record], tuple[str, ...]] = _nothing_more
) -> list[Record]:
    """The records of a file; `required` fields must be in each, then those that `of_record` names."""
    if not path.is_file():
        return []
    records = read_jsonl(path)
    for number, record in enumerate(records, start=1):
        whole = isinstance(record, dict) and all(key in record for key in required)
        if not whole or any(key not in record for key in of_record(record)):
            wanted = ", ".join((*required, *(of_record(record) if whole else ())))
            raise DataError(
                f"{path}, line {number}: damaged, without {wanted}; remove the line and write the report again"
            )
    return records


def _dataset_entries(config: Record) -> list[Record]:
    data = config.get("data") or {}
    return list(data.get("datasets") or [])


def _read_dataset(entry: Record, folder: Path, config_file: Path) -> Dataset:
    if not isinstance(entry, dict) or "path" not in entry:
        raise DataError(
            f"{config_file}: data.datasets has an entry without path: {entry!r}; "
            "give it one, or bring the file back from a copy"
        )
    path = str(entry["path"])
    # A relative path is meant from the project folder, which holds runs/; the report may be written from elsewhere.
    for base in (Path(), folder.absolute().parent.parent):
        manifest = _read_json(base / path / "manifest.json", "tokenizer", "splits", "counts", "sources")
        if manifest is not None:
            return Dataset(path, entry.get("weight", 1.0), manifest)
    return Dataset(path, entry.get("weight", 1.0), None)


def _read_exports(folder: Path) -> list[Record]:
    """export.json of all exports made from this run's checkpoints, with the `folder` of each; oldest first."""
    found = []
    for path in sorted((folder.absolute().parent.parent / "exports").glob("*/export.json")):
        export = _read_json(path, "source")
        if export is not None and _comes_from(Path(export["source"]), folder.absolute().name):
            found.append({**export, "folder": path.parent})
    return sorted(found, key=lambda export: str(export.get("created", "")))


def _comes_from(checkpoint: Path, run_name: str) -> bool:
    """Whether `checkpoint` is …/<run_name>/checkpoints/…, wherever the project folder has moved since."""
    parts = checkpoint.parts
    return any(pair == (run_name, "checkpoints") for pair in itertools.pairwise(parts))
