"""A dataset file by file, for a disk that cannot hold all of it: fetched, used, deleted, the next fetched meanwhile."""

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from data_prep.download.download import SPARE_BYTES, Download
from data_prep.download.hub import RemoteFile
from data_prep.download.lock import only_download
from data_prep.download.transfer import bytes_there, fetch, is_there
from megatron_recipe import console
from megatron_recipe.files import disk_full

if TYPE_CHECKING:
    from data_prep.stream import Shard


def shards(wanted: Download, done: set[str]) -> Iterator[tuple[RemoteFile, Path]]:
    """Yield the files one after the other, each whole and verified; the caller deletes it before it asks for the next.

    At most one more is on the disk or on its way. After a kill, call it again with the same folder and the `path`s of
    the files that are used up: a file that was half there is continued, one that was whole is verified and taken.

    Raises:
        ConfigError, DataError, MachineError: see transfer.fetch.
    """
    with only_download(wanted.folder):
        yield from _shards(wanted, [file for file in wanted.files if file.path not in done])


def _shards(wanted: Download, left: list[RemoteFile]) -> Iterator[tuple[RemoteFile, Path]]:
    wanted.record.write(wanted.folder)  # pins the commit for a run that goes on
    stop = Event()
    may_fetch = threading.Semaphore(1)
    ready: queue.SimpleQueue[tuple[RemoteFile, Path] | BaseException] = queue.SimpleQueue()

    def ahead() -> None:
        try:
            for file in left:
                may_fetch.acquire()
                if stop.is_set():
                    return
                ready.put((file, _ensure(wanted, file, stop)))
        except BaseException as error:
            ready.put(error)

    threading.Thread(target=ahead, daemon=True).start()
    try:
        for _ in left:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            may_fetch.release()  # the next comes in while the caller works on this one
            yield item
    finally:
        stop.set()
        may_fetch.release()


def _ensure(wanted: Download, file: RemoteFile, stop: Event) -> Path:
    path = wanted.path(file)
    if is_there(file, path, stop) is None:
        _require_space(wanted, file)
        console.say(f"fetching {file.path} ({file.bytes / 1e6:,.0f} MB)")
        fetch(file, wanted.origin, path, wanted.patience, stop, lambda amount: None)
    return path


def _require_space(wanted: Download, file: RemoteFile) -> None:
    from shutil import disk_usage

    needed = file.bytes - bytes_there(file, wanted.path(file))
    if disk_usage(wanted.folder).free < needed + SPARE_BYTES:
        raise disk_full(wanted.folder, needed)


def stream_shards(wanted: Download) -> Callable[[set[str]], Iterator["Shard"]]:
    """The files as data_prep.stream takes them: with their source, category, licence and text column."""
    from data_prep.recipe import Source
    from data_prep.stream import Shard

    known = wanted.record

    def begin(done: set[str]) -> Iterator[Shard]:
        for file, path in shards(wanted, done):
            source = Source(
                path=path,
                name=known.dataset,
                category=known.category,
                license=known.license,
                text_field=known.text_field,
            )
            yield Shard(file.path, source)

    return begin
