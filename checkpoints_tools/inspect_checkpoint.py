"""What is in a checkpoint or a Hugging Face folder: step, config, files with checksums, every tensor; reads no weights.

Run: megatron-recipe convert inspect RUN_OR_CHECKPOINT_OR_HF_FOLDER
"""

import json
from collections import defaultdict
from math import prod
from pathlib import Path
from typing import Any

from checkpoints_tools.hf_logits import read_config
from checkpoints_tools.megatron_checkpoint import MODEL_KEY, checkpoint_facts, checksums, find_checkpoint
from checkpoints_tools.safetensors_files import SafetensorsFolder
from megatron_recipe.console import progress
from megatron_recipe.errors import CheckpointError
from megatron_recipe.files import sha256_file

Report = dict[str, Any]
SHOWN_DIGITS = 16
OF_THE_MARKER = {"sha256", "integrity_sha256"}


def inspect(source: Path, *, verify: bool = False) -> Report:
    """What is known of a checkpoint (of a run: its newest complete one) or of a Hugging Face folder.

    verify: hash every file that has a recorded checksum.
    Returns {"path", "kind", "facts", "files": {name: {"bytes", "sha256"}}, "tensors": {name: {"shape", "dtype",
    "bytes", "part"}}}. Raises CheckpointError where there is neither, and with `verify` for a changed file.
    """
    is_hf = (source / "config.json").is_file() and not (source / ".metadata").is_file()
    report = _hf_folder(source) if is_hf else _checkpoint(find_checkpoint(source))
    if verify:
        _verify(Path(report["path"]), report["files"])
    return report


def _checkpoint(checkpoint: Path) -> Report:
    from checkpoints_tools.distcp import read_stored_tensors

    facts = checkpoint_facts(checkpoint)
    tensors = {
        name: _tensor(stored.shape, stored.dtype, "model" if MODEL_KEY.match(name) else "optimizer")
        for name, stored in read_stored_tensors(checkpoint).items()
    }
    return {
        "path": str(checkpoint),
        "kind": "Megatron checkpoint",
        "facts": {name: value for name, value in facts.items() if name not in OF_THE_MARKER},
        "files": _file_list(checkpoint, checksums(checkpoint)),
        "tensors": tensors,
    }


def _hf_folder(folder: Path) -> Report:
    config = read_config(folder)
    export = folder / "export.json"
    try:
        facts = json.loads(export.read_text(encoding="utf-8")) if export.is_file() else {}
    except ValueError as error:
        raise CheckpointError(f"{export}: damaged ({error}); export the folder again") from error
    places = SafetensorsFolder(folder).places
    return {
        "path": str(folder),
        "kind": "Hugging Face folder",
        "facts": {**{name: value for name, value in facts.items() if name != "files"}, "config": config},
        "files": _file_list(folder, facts.get("files", {})),
        "tensors": {name: _tensor(place.shape, place.dtype, "model") for name, place in places.items()},
    }


def _tensor(shape: tuple[int, ...], dtype: Any, part: str) -> Report:
    return {
        "shape": list(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "bytes": prod(shape) * dtype.itemsize,
        "part": part,
    }


def _file_list(folder: Path, sums: dict[str, str]) -> dict[str, Report]:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    missing = sorted(sums.keys() - {file.name for file in files})
    if missing:
        raise CheckpointError(f"{folder / missing[0]} is missing; copy the folder again")
    return {file.name: {"bytes": file.stat().st_size, "sha256": sums.get(file.name)} for file in files}


def _verify(folder: Path, files: dict[str, Report]) -> None:
    known = {name: one for name, one in files.items() if one["sha256"]}
    with progress("verifying", sum(one["bytes"] for one in known.values()) / 1e6, "MB") as advance:
        for name, one in known.items():
            if sha256_file(folder / name) != one["sha256"]:
                raise CheckpointError(f"{folder / name}: changed since it was written; copy it again")
            advance(one["bytes"] / 1e6, name)


def report_lines(report: Report, *, verified: bool = False) -> list[str]:
    """The report as a table for people."""
    tensors: dict[str, Report] = report["tensors"]
    own = {name: one for name, one in tensors.items() if one["part"] == "model"}
    rest = {name: one for name, one in tensors.items() if one["part"] != "model"}
    lines = [f"{report['path']} ({report['kind']})"]
    for name, value in report["facts"].items():
        nested = value.items() if isinstance(value, dict) else ()
        lines += [f"  {name}:", *(f"    {key}: {one}" for key, one in nested)] if nested else [f"  {name}: {value}"]
    lines.append("  files, with SHA-256" + (", verified:" if verified else " as recorded (--verify checks them):"))
    for name, one in report["files"].items():
        lines.append(f"    {name:34}{one['bytes'] / 1e6:14,.2f} MB  {(one['sha256'] or '')[:SHOWN_DIGITS]}")
    lines.append(f"  model: {summary(own)}")
    if rest:
        lines.append(f"  optimizer and other: {summary(rest)}")
    lines.append(
        "  weights as stored" + (" (layers stacked in the first dimension where they are alike):" if rest else ":")
    )
    width = max((len(name) for name in own), default=0)
    for name, one in own.items():
        shape = " × ".join(map(str, one["shape"]))
        lines.append(f"    {name:{width}}  {one['dtype']:9}{shape:>22}{one['bytes'] / 1e6:12,.2f} MB")
    return lines


def summary(tensors: dict[str, Report]) -> str:
    """Number of tensors, values and bytes, by type."""
    by_type: dict[str, int] = defaultdict(int)
    for one in tensors.values():
        by_type[one["dtype"]] += prod(one["shape"])
    values = ", ".join(f"{count:,} values in {name}" for name, count in by_type.items()) or "none"
    return f"{len(tensors)} tensors, {values}, {sum(one['bytes'] for one in tensors.values()) / 1e6:,.1f} MB"
