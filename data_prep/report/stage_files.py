"""What a work folder holds: which stages have run, and what they say of themselves."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.stages import MARKER, TEXT_STAGES
from megatron_recipe.errors import DataError, in_short

STAGES = (*TEXT_STAGES, "train_tokenizer", "write_dataset")
_FOLDER = re.compile(rf"\d+_({'|'.join(STAGES)})")


@dataclass(frozen=True)
class FinishedStage:
    """The folder of a stage that is whole, its settings and its result."""

    name: str
    folder: Path
    settings: dict[str, Any]
    result: dict[str, Any]

    def listing(self, name: str) -> Path | None:
        """``NAME.jsonl.zst`` or ``NAME.jsonl`` in the folder; None where the stage wrote none."""
        return next((p for s in (".jsonl.zst", ".jsonl") if (p := self.folder / f"{name}{s}").is_file()), None)


def is_work_folder(path: Path) -> bool:
    """Whether a folder holds stages, finished or not."""
    if not path.is_dir():
        return False
    names = [inside.name.strip(".").removesuffix(".partial") for inside in path.iterdir()]
    return any(map(_FOLDER.fullmatch, names))


def read_stages(work: Path) -> dict[str, FinishedStage]:
    """The finished stages by name, in their order; the number before the name may differ.

    Raises:
        DataError: a stage's marker is damaged.
    """
    found: dict[str, FinishedStage] = {}
    if not work.is_dir():
        return found
    for folder in sorted(work.iterdir()):
        named = _FOLDER.fullmatch(folder.name)
        if named and (folder / MARKER).is_file():
            found[named[1]] = _read(named[1], folder)
    return {name: found[name] for name in STAGES if name in found}


def _read(name: str, folder: Path) -> FinishedStage:
    path = folder / MARKER
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        result = marker["result"]
        for field in ("documents_in", "documents_out", "bytes_out", "seconds"):
            result[field] + 0
        for counts in (result["dropped"], result.setdefault("changes", {})):
            sum(counts.values())
        return FinishedStage(name, folder, marker.get("settings") or {}, result)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({in_short(error)}); delete {folder} and run `data prepare` again") from error


def funnel(stages: dict[str, FinishedStage]) -> list[dict[str, Any]]:
    """Each text stage's documents and bytes in and out, and whether they add up; ``run`` is false for one that has not.

    ``adds_up``: read = kept + dropped. ``follows``: it read what the stage before it kept.
    """
    rows: list[dict[str, Any]] = []
    before: dict[str, Any] | None = None
    for name in TEXT_STAGES:
        if name not in stages:
            rows.append({"name": name, "run": False})
            continue
        result = stages[name].result
        dropped = sum(result["dropped"].values())
        rows.append(
            {
                "name": name,
                "run": True,
                "documents_in": result["documents_in"],
                "documents_out": result["documents_out"],
                "documents_dropped": dropped,
                "dropped": dict(sorted(result["dropped"].items(), key=lambda item: (-item[1], item[0]))),
                "bytes_in": before["bytes_out"] if before else None,
                "bytes_out": result["bytes_out"],
                "seconds": result["seconds"],
                "changes": result["changes"],
                "adds_up": result["documents_in"] == result["documents_out"] + dropped,
                "follows": before is None or before["documents_out"] == result["documents_in"],
            }
        )
        before = result
    return rows
