"""Reads evaluation sets as their publishers store them: every item with the texts in it, whatever the schema."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.sources import packed
from megatron_recipe.errors import DataError

JSON_LINES = (".jsonl", ".ndjson")
TABLES = (".parquet", ".arrow")
SUFFIXES = (*JSON_LINES, ".json", *TABLES, ".txt")
DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json", "download.json")
"""What Hugging Face's datasets and our own downloads write beside the data."""


@dataclass(frozen=True)
class Item:
    """One question, with the texts to look for."""

    number: int
    """Its place in the file, from 0."""
    texts: tuple[tuple[str, str], ...]
    """(field, text); a field inside another is ``choices.text``, a list's texts share its name."""


def find_sets(path: Path) -> list[tuple[str, Path]]:
    """The evaluation files at `path`, a file or a folder searched below, each with the name it is listed by.

    Raises:
        DataError: there is none, or it has an unknown suffix.
    """
    known = f"give {', '.join(SUFFIXES)} (text also {', '.join(packed.SUFFIXES)})"
    if path.is_file():
        if packed.suffix_of(path) not in SUFFIXES:
            raise DataError(
                f"{path}: cannot read {path.suffix or 'a file without suffix'} as an evaluation set; {known}"
            )
        return [(path.name, path)]
    if not path.is_dir():
        raise DataError(f"{path}: there is no such evaluation set; fetch it, or correct the recipe's decontaminate")
    inside = [at for at in sorted(path.rglob("*")) if at.is_file() and at.name not in DESCRIPTIONS]
    found = [(at.relative_to(path.parent).as_posix(), at) for at in inside if packed.suffix_of(at) in SUFFIXES]
    if not found:
        raise DataError(f"{path}: holds no evaluation set; {known}")
    return found


def read_items(path: Path, fields: tuple[str, ...] = ()) -> Iterator[Item]:
    """The items of one file.

    Args:
        path: JSON lines, a JSON array (or an object of arrays), parquet, arrow, or text, whose paragraphs are items.
        fields: the fields to take, with all that is inside them; none takes every one that holds text.

    Raises:
        DataError: the file cannot be read.
    """
    for number, record in enumerate(_records(path)):
        yield Item(number, tuple((field, text) for field, text in _texts(record, "") if _is_wanted(field, fields)))


def _is_wanted(field: str, fields: tuple[str, ...]) -> bool:
    return not fields or any(field == wanted or field.startswith(f"{wanted}.") for wanted in fields)


def _texts(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field or "text", value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, field)


def _records(path: Path) -> Iterator[Any]:
    suffix = packed.suffix_of(path)
    if suffix in TABLES:
        yield from _table_rows(path, suffix)
    elif suffix in JSON_LINES:
        for number, line in enumerate(packed.lines_of(path), 1):
            if line.strip():
                yield _json(line, f"{path}:{number}")
    elif suffix == ".json":
        whole = _json(b"".join(packed.lines_of(path)), str(path))
        lists = whole.values() if isinstance(whole, dict) else [whole]
        yield from (record for one in lists if isinstance(one, list) for record in one)
    else:
        text = _text(b"".join(packed.lines_of(path)), str(path))
        yield from (paragraph for paragraph in text.replace("\r\n", "\n").split("\n\n") if paragraph.strip())


def _text(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 ({error}); convert it with iconv") from None


def _json(content: bytes, place: str) -> Any:
    try:
        return json.loads(_text(content, place))  # not orjson: lone surrogates and NaN occur
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON ({error}); fetch the evaluation set again") from None


def _table_rows(path: Path, suffix: str) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        if suffix == ".parquet":
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
            return
        with pyarrow.memory_map(str(path)) as file:
            for batch in _arrow_batches(file):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a whole {suffix[1:]} file ({error}); fetch the evaluation set again") from error


def _arrow_batches(file: Any) -> Iterator[Any]:
    """Batches of arrow's stream format, which datasets writes, or of its file format."""
    import pyarrow.ipc

    if file.read(6) == b"ARROW1":
        whole = pyarrow.ipc.open_file(file)
        yield from (whole.get_batch(i) for i in range(whole.num_record_batches))
    else:
        file.seek(0)
        yield from pyarrow.ipc.open_stream(file)
