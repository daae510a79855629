"""Files that are whole or not there: temporary name, fsync, rename. Full disks become a MachineError."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from megatron_recipe.errors import DataError, MachineError

UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_is_an_error(path: Path) -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" below `path` into a MachineError that says how much is free.

    So it does with a place that cannot be written to, for example on a read-only disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno in UNWRITABLE and _is_at(error.filename, path):
            raise unwritable(path, error) from error
        if error.errno not in FULL:
            raise
        raise disk_full(path) from error


def _is_at(name: Any, path: Path) -> bool:
    """Whether an error is about `path`, a folder above it, or what is written until it is whole."""
    if not isinstance(name, str | os.PathLike):
        return False
    found, partial = Path(name), partial_path(path)
    return found in (path, partial, *path.parents) or partial in found.parents


def unwritable(path: Path, error: OSError) -> MachineError:
    """The error for a place that cannot be written to."""
    return MachineError(f"{path}: cannot be written ({error.strerror}); name a place that you may write to")


def existing_part(path: Path) -> Path:
    """The path itself where it is there, else the nearest folder above it that is."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def disk_full(path: Path, needed_bytes: int = 0) -> MachineError:
    """The error for a full disk at `path` (which need not exist); `needed_bytes` 0 where the need is not known."""
    existing = existing_part(path.absolute())
    free = shutil.disk_usage(existing).free
    need = f", {needed_bytes / 1e6:,.0f} MB needed" if needed_bytes else ""
    return MachineError(
        f"{path}: the disk is full ({free / 1e6:,.0f} MB free on {existing}{need}); "
        "free some space or choose another folder, then run the same command again: it continues"
    )


def require_place(path: Path) -> None:
    """Raise MachineError where a file could not be written to `path`, before hours of work for it."""
    existing = existing_part(path)
    if path.is_dir() or not os.access(existing, os.W_OK) or (existing != path and not existing.is_dir()):
        what = "is a folder" if path.is_dir() else f"{existing} cannot be written to"
        raise MachineError(f"{path}: {what}; name a file in a place that you may write to")


def is_no_place(path: Path) -> bool:
    """Whether a path stands for what a program writes to, as /dev/stdout does, also where that is a file by now."""
    return path.absolute().is_relative_to("/dev") or path.absolute().is_relative_to("/proc")


def partial_path(path: Path) -> Path:
    """Where `path` is written until it is whole."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that appears as `path` only when the block ends without an error.

    What is there and no file, such as /dev/stdout, is written to, not replaced.
    """
    partial = partial_path(path)
    with full_disk_is_an_error(path):
        if is_no_place(path) or (path.exists() and not path.is_file()):
            with path.open(mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open(mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` only when the block ends without an error."""
    partial = partial_path(path)
    with full_disk_is_an_error(path):
        _bring_back(path)  # a kill between two renames
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            _put_in_place(partial, path)
        except BaseException:
            _bring_back(path)
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _put_in_place(partial: Path, path: Path) -> None:
    """Let a whole folder take the place of another, which stays beside it until then."""
    before = _aside(path)
    shutil.rmtree(before, ignore_errors=True)
    if path.exists():
        path.rename(before)
    partial.rename(path)
    shutil.rmtree(before, ignore_errors=True)


def _bring_back(path: Path) -> None:
    """The folder that was moved aside for another one, where that did not take its place."""
    if not path.exists() and _aside(path).exists():
        _aside(path).rename(path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.before")


def json_if_whole(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty where there is none or it was cut: for what is only a help if it is there."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    with atomic_file(path) as file:
        file.write(json_text(value))


def json_text(value: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a JSON-lines file; a line cut off by a kill at the end of the file is left out.

    Raises DataError for a damaged line before it.
    """
    records = []
    # bytes: a kill can also cut a character in two
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            records += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: damaged ({error}); only the last line may be cut off: remove the line and "
                "run the same command again"
            ) from error
    return records


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held_alone(lock_file: Path, busy: str) -> Iterator[None]:
    """Hold a lock file for this process; the end of the process, also by a kill, lets it go.

    Args:
        busy: the error's message, with ``{holder}`` for the number of the process that holds it.

    Raises:
        DataError: another process holds it.
        MachineError: it cannot be written.
    """
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        opened = lock_file.open("a+", encoding="utf-8")
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(lock_file.parent) from error
        raise unwritable(lock_file.parent, error) from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise DataError(busy.replace("{holder}", lock.read().strip() or "unknown")) from None
        with full_disk_is_an_error(lock_file.parent):
            lock.truncate(0)
            # past the buffer: what a full disk leaves in it fails again where the file is closed, as a bare OSError
            os.write(lock.fileno(), str(os.getpid()).encode())
        yield
