"""One file from a hub to the disk: resumed where it stopped, repeated after faults, and there only when it is right.

Bytes go to `.NAME.CHECKSUM.partial` beside the file, so that what a killed run left is continued, never mixed with
another version of the file, and never taken for a whole one.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import IO, Any

from data_prep.download.hub import Origin, RemoteFile
from data_prep.download.huggingface import refusal
from data_prep.download.patience import PASSING_STATUSES, PassingError, Patience, Stopped
from megatron_recipe.errors import DataError
from megatron_recipe.files import full_disk_is_an_error

CHUNK_BYTES = 1 << 20
MAX_WRONG_CONTENTS = 2
"""A file that arrives whole with another checksum is fetched once more; after that the server has another file."""


def fetch(
    file: RemoteFile, origin: Origin, path: Path, patience: Patience, stop: Event, advance: Callable[[int], None]
) -> str:
    """Fetch `file` to `path` and return its SHA-256.

    Args:
        advance: called with bytes as they come in, with a negative number where some must be fetched again.

    Raises:
        DataError: the server has another content than its listing says.
        ConfigError: the server refuses the account.
        MachineError: the disk is full, or the connection fails again and again.
        Stopped: the command is ending; a later call goes on from here.
    """
    partial = partial_of(file, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = wrong_contents = 0
    with full_disk_is_an_error(path):
        while True:
            before = _size(partial)
            try:
                _receive(file, origin, partial, patience, stop, advance)
            except PassingError as error:
                failures = 1 if _size(partial) > before else failures + 1
                patience.after(failures, error, f"{origin.url(file)}", stop)
                continue
            sha256, is_right = checksums(partial, file, stop)
            if is_right:
                partial.replace(path)
                return sha256
            partial.unlink()
            advance(-file.bytes)
            wrong_contents += 1
            if wrong_contents >= MAX_WRONG_CONTENTS:
                raise DataError(
                    f"{origin.url(file)}: {file.bytes:,} bytes came, but not those of the listing (SHA-256 {sha256}, "
                    f"listed {file.sha256 or 'git ' + str(file.git_sha1)}); try another --mirror, or none"
                )


def partial_of(file: RemoteFile, path: Path) -> Path:
    """Where the file's bytes are collected."""
    version = (file.sha256 or file.git_sha1 or str(file.bytes))[:12]
    return path.with_name(f".{path.name}.{version}.partial")


def bytes_there(file: RemoteFile, path: Path) -> int:
    """How much of the file earlier runs left in its partial file."""
    size = _size(partial_of(file, path))
    return size if size <= file.bytes else 0


def is_there(file: RemoteFile, path: Path, stop: Event) -> str | None:
    """The SHA-256 of `path` if it is the listed file, read in full; else None."""
    if _size(path) != file.bytes or not path.is_file():
        return None
    sha256, is_right = checksums(path, file, stop)
    return sha256 if is_right else None


def checksums(path: Path, file: RemoteFile, stop: Event) -> tuple[str, bool]:
    """The SHA-256 of `path`, and whether length and checksums are those listed."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f"blob {file.bytes}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            sha256.update(chunk)
            if not file.sha256:
                git.update(chunk)
            if stop.is_set():
                raise Stopped
    is_right = path.stat().st_size == file.bytes
    if file.sha256:
        is_right &= sha256.hexdigest() == file.sha256
    elif file.git_sha1:
        is_right &= git.hexdigest() == file.git_sha1
    return sha256.hexdigest(), is_right


def _receive(
    file: RemoteFile, origin: Origin, partial: Path, patience: Patience, stop: Event, advance: Callable[[int], None]
) -> None:
    """Add to `partial` until it has the file's length."""
    import httpx2
    from huggingface_hub import get_session

    have = _size(partial)
    if have > file.bytes:  # cannot be a beginning of this file
        partial.unlink()
        have = 0
    if have == file.bytes and (have or partial.exists()):
        return
    headers = {**origin.hub.headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    timeout = httpx2.Timeout(patience.stall_seconds)
    try:
        with get_session().stream("GET", origin.url(file), headers=headers, timeout=timeout) as answer:
            have = _check(answer, file, origin, partial, have, advance)
            # neither read nor written through a buffer: a cut or a kill loses nothing that came
            with partial.open("ab", buffering=0) as out:
                _write(answer.iter_raw(), out, file.bytes - have, stop, advance)
    except httpx2.TransportError as error:
        raise PassingError(f"the connection was cut ({error or type(error).__name__})") from error
    if _size(partial) < file.bytes:
        raise PassingError(f"only {_size(partial):,} of {file.bytes:,} bytes came")


def _check(
    answer: Any, file: RemoteFile, origin: Origin, partial: Path, have: int, advance: Callable[[int], None]
) -> int:
    """Look at status and lengths before a byte is written; returns where the answer's bytes begin."""
    status = answer.status_code
    if status == 416:  # nothing from there on: what is there is not a beginning of the server's file
        _start_again(partial, have, advance)
        raise PassingError("the server has no bytes from where the file stopped (HTTP 416)")
    if status in PASSING_STATUSES:
        raise PassingError(f"HTTP {status}", answer.headers)
    if status not in (200, 206):
        answer.read()
        raise refusal(answer, origin.hub.endpoint, origin.repo, file.path, origin.commit)
    if status == 200 and have:  # the server ignores ranges, and sends all
        _start_again(partial, have, advance)
        have = 0
    if status == 206 and not answer.headers.get("content-range", "").startswith(f"bytes {have}-"):
        raise PassingError(f"the server sent another range ({answer.headers.get('content-range')})")
    length = answer.headers.get("content-length")
    if length is not None and int(length) != file.bytes - have:
        raise PassingError(f"the server announces {int(length):,} bytes where {file.bytes - have:,} are listed")
    return have


def _start_again(partial: Path, have: int, advance: Callable[[int], None]) -> None:
    partial.unlink(missing_ok=True)
    advance(-have)


def _write(chunks: Iterator[bytes], out: IO[bytes], missing: int, stop: Event, advance: Callable[[int], None]) -> None:
    for chunk in chunks:
        if stop.is_set():
            raise Stopped
        if len(chunk) > missing:
            raise PassingError("the server sent more bytes than it lists")
        out.write(chunk)
        missing -= len(chunk)
        advance(len(chunk))
    os.fsync(out.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
