"""Checksums of a checkpoint's files: written by the processes that wrote the files, verified before anything is loaded.

The list is Megatron's own integrity.json (megatron/core/dist_checkpointing/validation.py); the marker holds the
checksum of that list and of itself, so that a change of any byte in the folder is found.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from megatron_recipe.errors import in_short
from megatron_recipe.files import json_text, sha256_file, write_json

MARKER = "checkpoint.json"
INTEGRITY = "integrity.json"
HASHES = ".hashes_{}.json"
OWN_CHECKSUM = "sha256"


def hash_files(folder: Path, names: list[str], rank: int) -> None:
    """Leave the checksums of `names` beside them; called by the process that wrote them, with them still in memory."""
    write_json(folder / HASHES.format(rank), {name: sha256_file(folder / name) for name in names})


def write_integrity(folder: Path) -> None:
    """Gather what `hash_files` left, add the files it did not cover, and write integrity.json."""
    hashes: dict[str, str] = {}
    for part in sorted(folder.glob(HASHES.format("*"))):
        hashes.update(json.loads(part.read_text(encoding="utf-8")))
        part.unlink()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in hashes and path.name not in (INTEGRITY, MARKER):
            hashes[path.name] = sha256_file(path)
    write_json(folder / INTEGRITY, {"algorithm": "sha256", "files": dict(sorted(hashes.items()))})


def write_marker(folder: Path, facts: dict[str, Any]) -> None:
    """Write the file that makes a checkpoint complete, with the checksums of integrity.json and of itself."""
    marker = {**facts, "integrity_sha256": sha256_file(folder / INTEGRITY)}
    write_json(folder / MARKER, {**marker, OWN_CHECKSUM: _checksum(marker)})


def marker_is_whole(folder: Path) -> bool:
    """Whether the marker is as it was written, to its last byte; what it says may be believed only then."""
    try:
        written = (folder / MARKER).read_bytes()
        marker = json.loads(written)
        return bool(written == json_text(marker).encode() and marker.pop(OWN_CHECKSUM) == _checksum(marker))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def damage(folder: Path, share: tuple[int, int] = (0, 1)) -> str | None:
    """What is wrong with the files of a checkpoint, in words; None where every byte is as it was written.

    share: which part of the files to read, and of how many.
    """
    reading = MARKER
    try:
        written = (folder / MARKER).read_bytes()
        marker = json.loads(written)
        as_written = json_text(marker).encode()
        if written != as_written or marker.pop(OWN_CHECKSUM) != _checksum(marker):
            return f"{MARKER} was changed"
        reading = INTEGRITY
        if sha256_file(folder / INTEGRITY) != marker["integrity_sha256"]:
            return f"{INTEGRITY} was changed"
        expected = json.loads((folder / INTEGRITY).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"{reading}: {in_short(error)}"
    part, parts = share
    with ThreadPoolExecutor(8) as pool:  # hashing leaves Python's lock, so that threads share the cores
        problems = pool.map(lambda name: _file_damage(folder / name, expected[name]), sorted(expected)[part::parts])
    found = [problem for problem in problems if problem]
    return "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "") if found else None


def _file_damage(path: Path, expected: str) -> str | None:
    if not path.is_file():
        return f"{path.name} is missing"
    try:
        return None if sha256_file(path) == expected else f"{path.name} differs from its checksum"
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"


def _checksum(marker: Any) -> str:
    return hashlib.sha256(json.dumps(marker, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
