"""The manifest of a dataset: what is in it, where it is from, how it was made. A folder without one is no dataset."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from megatron_recipe.errors import DataError
from megatron_recipe.files import write_json

FORMAT = "megatron-recipe/dataset/1"
NAME = "manifest.json"
FIELDS = {
    "format": str,
    "created": str,
    "tokenizer": {"kind": str, "file": str, "vocab_size": int, "eod_id": int, "sha256": str, "golden": list},
    "splits": dict,
    "counts": {"read": int, "kept": int, "dropped": dict},
    "sources": list,
    "settings": dict,
}
SPLIT_FIELDS = {
    "documents": int,
    "tokens": int,
    "bytes": int,
    "characters": int,
    "dtype": str,
    "sha256": {"bin": str, "idx": str},
}


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Check and write the manifest; the last file of a dataset."""
    manifest = {"format": FORMAT, "created": datetime.now(UTC).isoformat(timespec="seconds"), **content}
    validate(manifest, folder / NAME)
    write_json(folder / NAME, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The checked manifest of the dataset in `folder`.

    Raises:
        DataError: there is none, or it does not hold what a manifest must.
    """
    path = folder / NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder}: not a dataset (no {NAME}); `megatron-recipe data prepare` writes one") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged ({error}); write the dataset again") from error
    validate(manifest, path)
    return manifest


def validate(manifest: dict[str, Any], path: Path) -> None:
    """Raise DataError unless the fields and their types are those of FORMAT and the counts add up."""
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise DataError(f"{path}: format is {found!r}, not {FORMAT!r}; write the dataset again with this version")
    _check(manifest, FIELDS, path, "")
    for name, split in manifest["splits"].items():
        _check(split, SPLIT_FIELDS, path, f"splits.{name}.")
    counts = manifest["counts"]
    if counts["read"] != counts["kept"] + sum(counts["dropped"].values()):
        raise DataError(f"{path}: counts.read={counts['read']} must be counts.kept plus all of counts.dropped")


def _check(value: Any, fields: dict[str, Any], path: Path, where: str) -> None:
    for field, expected in fields.items():
        kind = dict if isinstance(expected, dict) else expected
        if not isinstance(value, dict) or not isinstance(value.get(field), kind):
            raise DataError(
                f"{path}: {where}{field} is missing or not of type {kind.__name__}; write the dataset again"
            )
        if isinstance(expected, dict):
            _check(value[field], expected, path, f"{where}{field}.")
