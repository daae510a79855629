"""Files of records, one JSON object a line, and the numbers in a record."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from megatron_recipe.files import atomic_file, full_disk_is_an_error, read_jsonl


def numeric_fields(kind: str, record: dict[str, Any]) -> dict[str, float]:
    """All numbers of a record but its step, as `kind/field`; unknown ones (None), texts and flags are left out."""
    return {
        f"{kind}/{name}": value
        for name, value in record.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }


def keep_records(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite a file of records with the whole lines that are wanted, if there is one."""
    if path.exists():
        kept = [record for record in read_jsonl(path) if wanted(record)]
        with atomic_file(path) as file:
            file.writelines(map(_line, kept))


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Add one record at the end of the file; MachineError where the disk is full."""
    with full_disk_is_an_error(path), path.open("a", encoding="utf-8") as file:
        file.write(_line(record))


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"
