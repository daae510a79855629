"""Datasets that no program may fetch: what the user put into the folder is checked and registered."""

from pathlib import Path
from threading import Event

from data_prep.download.hub import RemoteFile
from data_prep.download.record import BY_HAND, Record
from data_prep.download.transfer import checksums
from data_prep.sources import packed
from data_prep.sources.hub_dataset import HubDataset
from megatron_recipe import console
from megatron_recipe.errors import ConfigError, DataError


def register(dataset: HubDataset, folder: Path, dry_run: bool) -> Record:
    """Register the files of `dataset` in `folder`.

    Raises:
        ConfigError: there are none; the message says how to get them.
        DataError: a file's first record has no text.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name.endswith(dataset.suffixes))
    if not files:
        raise ConfigError(dataset.by_hand.format(out=folder))
    for path in files:
        _require_text(path, dataset)
    record = Record(
        dataset=dataset.name,
        hub=BY_HAND,
        endpoint="",
        repo=dataset.home,
        revision="",
        subset="",
        license=dataset.license,
        category=dataset.category,
        languages=list(dataset.languages),
        text_field=dataset.text_field,
        id_field=dataset.id_field,
    )
    if dry_run:
        return record
    with console.progress("check", len(files), "files") as advance:
        for path in files:
            size = path.stat().st_size
            name = path.relative_to(folder).as_posix()
            sha256, _ = checksums(path, RemoteFile(name, size), Event())
            record.files.append({"path": name, "bytes": size, "sha256": sha256})
            advance()
    record.tokens = round(sum(entry["bytes"] for entry in record.files) / dataset.bytes_per_token)
    record.complete = True
    record.write(folder)
    return record


def _require_text(path: Path, dataset: HubDataset) -> None:
    import orjson

    line = next(packed.lines_of(path), b"")
    try:
        names = list(orjson.loads(line))
    except (orjson.JSONDecodeError, TypeError):
        raise DataError(f"{path}: its first line is not a JSON object; unpack it, or fetch it again") from None
    if dataset.text_field not in names:
        raise DataError(
            f"{path}: records have {', '.join(map(repr, names))}, not {dataset.text_field!r}; leave out files that "
            f"are not text (give them to `data prepare` with their own --text-field)"
        )
