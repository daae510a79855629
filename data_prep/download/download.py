"""A dataset's files into a folder: listed, chosen, checked, fetched several at a time, and registered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import disk_usage
from threading import Event

from data_prep.download import record as records
from data_prep.download.choose import Limits, choose
from data_prep.download.hub import Hub, Origin, RemoteFile, repo_on
from data_prep.download.lock import only_download
from data_prep.download.patience import Patience
from data_prep.download.record import Record, read_record, refuse_other
from data_prep.download.transfer import bytes_there, fetch, is_there
from data_prep.download.workers import Progress, run
from data_prep.sources.hub_dataset import HubDataset, Subset
from megatron_recipe import console
from megatron_recipe.errors import DataError
from megatron_recipe.files import disk_full

SPARE_BYTES = 64 << 20
"""Left free on the disk, for the records and what else writes there."""


@dataclass(frozen=True)
class Download:
    """What to fetch, from where, to where."""

    origin: Origin
    files: list[RemoteFile]
    folder: Path
    record: Record
    patience: Patience = field(default_factory=Patience)

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.bytes for file in self.files)

    def path(self, file: RemoteFile) -> Path:
        """Where a file lies once it is whole."""
        return self.folder / file.path


def size(number_of_bytes: float) -> str:
    """Bytes in the unit that suits them (powers of 1000, as disks and hubs count)."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number_of_bytes >= factor:
            return f"{number_of_bytes / factor:,.1f} {unit}"
    return f"{number_of_bytes:,.0f} bytes"


def plan(
    dataset: HubDataset, subset: Subset, hub: Hub, folder: Path, limits: Limits, revision: str | None = None
) -> Download:
    """List the subset and choose its files. Writes nothing.

    A folder in which this subset was begun keeps its commit, so that no two states of a dataset mix.

    Raises:
        ConfigError, DataError, MachineError: see Hub.files, choose and refuse_other.
    """
    stop = Event()
    repo = repo_on(hub, dataset)
    wanted = _record(dataset, subset, hub, repo)
    begun = read_record(folder)
    if begun is not None:
        refuse_other(folder, begun, wanted)
    wanted.revision = hub.commit(repo, revision or (begun.revision if begun else "main"), stop)
    files = hub.files(repo, wanted.revision, subset.folder, stop)
    chosen = choose(_with_known_checksums(files, begun), dataset.suffixes, limits, dataset.bytes_per_token)
    wanted.files = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in chosen]
    wanted.tokens = round(sum(file.bytes for file in chosen) / dataset.bytes_per_token)
    return Download(Origin(hub, repo, wanted.revision), chosen, folder, wanted)


def _with_known_checksums(files: list[RemoteFile], begun: Record | None) -> list[RemoteFile]:
    """Files whose hub lists no checksum get the one that was computed when they were fetched."""
    known = {(entry["path"], entry["bytes"]): entry["sha256"] for entry in begun.files} if begun else {}
    return [
        file if file.sha256 or file.git_sha1 else replace(file, sha256=known.get((file.path, file.bytes)))
        for file in files
    ]


def _record(dataset: HubDataset, subset: Subset, hub: Hub, repo: str) -> Record:
    return Record(
        dataset=dataset.name,
        hub=hub.name,
        endpoint=hub.endpoint,
        repo=repo,
        revision="",
        subset=subset.name,
        license=dataset.license,
        category=dataset.category,
        languages=list(dataset.languages),
        text_field=dataset.text_field,
        id_field=dataset.id_field,
        tokens_field=dataset.tokens_field,
        metadata_fields=list(dataset.metadata_fields),
    )


def download(wanted: Download, connections: int) -> Record:
    """Fetch what is missing, having checked what is there, and register all of it.

    Raises:
        ConfigError, DataError, MachineError: see transfer.fetch; files that came before stay, a later run goes on.
    """
    with only_download(wanted.folder):
        return _download(wanted, connections)


def _download(wanted: Download, connections: int) -> Record:
    wanted.record.write(wanted.folder)  # first, so that a run that is killed goes on with the same commit
    checksums = _check(wanted, connections)
    missing = [file for file in wanted.files if file.path not in checksums]
    if checksums:
        right = sum(file.bytes for file in wanted.files if file.path in checksums)
        console.say(f"{len(checksums):,} of {len(wanted.files):,} files ({size(right)}) are there and right")
    _require_space(wanted, missing)
    checksums |= _fetch(wanted, missing, connections)
    for entry in wanted.record.files:
        entry["sha256"] = checksums[entry["path"]]
    _count_tokens(wanted)
    wanted.record.complete = True
    wanted.record.write(wanted.folder)
    _name_others(wanted)
    return wanted.record


def _check(wanted: Download, connections: int) -> dict[str, str]:
    """SHA-256 by path of the files that are there and are what the hub lists."""
    present = [file for file in wanted.files if wanted.path(file).is_file()]
    stop = Event()

    def work(file: RemoteFile, advance: Callable[[int], None]) -> str | None:
        found = is_there(file, wanted.path(file), stop)
        advance(file.bytes)
        return found

    checksums = _run(present, work, connections, stop, "check", sum(file.bytes for file in present))
    for file in present:
        if file.path not in checksums:
            console.warn(f"{wanted.path(file)} is not the file that the hub lists; it is fetched again")
    return checksums


def _fetch(wanted: Download, missing: Sequence[RemoteFile], connections: int) -> dict[str, str]:
    left = sum(file.bytes - bytes_there(file, wanted.path(file)) for file in missing)
    stop = Event()

    def work(file: RemoteFile, advance: Callable[[int], None]) -> str | None:
        return fetch(file, wanted.origin, wanted.path(file), wanted.patience, stop, advance)

    return _run(missing, work, connections, stop, "download", left)


def _run(
    files: Sequence[RemoteFile],
    work: Callable[[RemoteFile, Callable[[int], None]], str | None],
    connections: int,
    stop: Event,
    title: str,
    total_bytes: int,
) -> dict[str, str]:
    results: dict[str, str] = {}
    ended = 0
    with console.progress(title, total_bytes / 1e6, "MB") as advance:
        for event in run(files, work, connections, stop):
            if isinstance(event, Progress):
                advance(event.bytes / 1e6, f"{ended}/{len(files)} files")
                continue
            ended += 1
            if event.result is not None:
                results[event.task.path] = event.result
    return results


def _require_space(wanted: Download, missing: Sequence[RemoteFile]) -> None:
    needed = sum(file.bytes - bytes_there(file, wanted.path(file)) for file in missing)
    if missing and disk_usage(wanted.folder).free < needed + SPARE_BYTES:
        raise disk_full(wanted.folder, needed)


def _count_tokens(wanted: Download) -> None:
    """Replace the estimate by the sum of the set's own column of token counts, where it has one."""
    column = wanted.record.tokens_field
    if column is None or not all(file.path.endswith(".parquet") for file in wanted.files):
        return
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    total = 0
    for file, entry in zip(wanted.files, wanted.record.files, strict=True):
        path = wanted.path(file)
        try:
            table = pyarrow.parquet.read_table(path, columns=[column])
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{path}: as listed, but not a parquet file with a column {column} ({error})") from error
        if column not in table.column_names:
            return
        entry["tokens"] = pyarrow.compute.sum(table[column]).as_py() or 0
        total += entry["tokens"]
    wanted.record.tokens, wanted.record.tokens_are = total, "counted"


def _name_others(wanted: Download) -> None:
    """Files of an earlier run with higher limits would be read too: say so."""
    own = {wanted.path(file) for file in wanted.files}
    suffixes = tuple({Path(file.path).suffix for file in wanted.files})
    others = [
        path
        for path in sorted(wanted.folder.rglob("*"))
        if path.suffix in suffixes and path not in own and path.name != records.NAME and path.is_file()
    ]
    if others:
        console.warn(
            f"{wanted.folder} also holds {len(others)} files that are not part of this download ({others[0].name}, …); "
            "delete them if they should not be read"
        )
