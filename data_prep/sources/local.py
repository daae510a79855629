"""The user's own text: JSONL, parquet and plain text files or folders of them, JSONL and text also compressed.

datatrove's JsonlReader is not used: it skips lines that are not JSON and the whole rest of a file that is not UTF-8
with a line in a log, and here both are errors that name the place. Its ParquetReader is used as it is.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.readers.base import BaseReader
from datatrove.pipeline.readers.parquet import ParquetReader

from data_prep.download import record as download_record
from data_prep.recipe import Source
from data_prep.sources import packed
from data_prep.sources.bad_lines import FIELD as BAD_LINE
from data_prep.valid_unicode import valid_unicode
from megatron_recipe.errors import DataError

JSONL_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet",)
TEXT_SUFFIXES = (".txt", ".text", ".md")
KNOWN = JSONL_SUFFIXES + PARQUET_SUFFIXES + TEXT_SUFFIXES
READABLE = "*.jsonl, *.txt (also .gz, .zst, .xz) and *.parquet"
PART_CHARACTERS = 50_000
"""Plain text files are cut at a paragraph near this length, so that one long file can fill both splits."""
MANY_RECORDS_LINE_BYTES = 64 << 20
"""A "line" longer than this is a JSON array or another format under the name of JSONL."""


@dataclass(frozen=True)
class LocalFile:
    """A file to read and what is known of its records: what they say themselves counts before it."""

    path: Path
    source: str
    category: str | None = None
    license: str | None = None
    text_field: str = "text"
    id_field: str = "id"

    @property
    def suffix(self) -> str:
        """The suffix that names the format, without that of the compression."""
        return packed.suffix_of(self.path)


def find_files(sources: tuple[Source, ...]) -> list[LocalFile]:
    """All readable files of the sources (files, or folders searched below), in a fixed order.

    Raises:
        DataError: a path does not exist, has an unknown suffix, or is a folder without readable files.
    """
    return [file for source in sources for file in _files_of(source)]


def _files_of(source: Source) -> list[LocalFile]:
    path = source.path
    fetched = _download_of(path)

    def file(at: Path, name: str) -> LocalFile:
        return LocalFile(
            at,
            source.name or (fetched.dataset if fetched else name),
            source.category or (fetched.category if fetched else None),
            source.license or (fetched.license if fetched else None),
            source.text_field or (fetched.text_field if fetched else "text"),
            (fetched.id_field if fetched else None) or "id",
        )

    if path.is_file():
        found = file(path, path.name.partition(".")[0])
        if found.suffix not in KNOWN:
            raise DataError(f"{path}: cannot read {path.suffix or 'a file without suffix'}; give {READABLE}")
        return [found]
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder; give {READABLE}, or a folder of them")
    inside = [file(at, path.resolve().name) for at in _inside(path) if _is_text_of_its_own(at)]
    readable = [found for found in inside if found.suffix in KNOWN]
    if not readable:
        suffixes = ", ".join(sorted({f.path.suffix or f.path.name for f in inside})[:8]) or "nothing"
        raise DataError(f"{path}: holds no text files (found {suffixes}); give {READABLE}")
    return readable


def _inside(path: Path) -> list[Path]:
    """All files below a folder, sorted; links to folders are followed, each folder once."""
    seen: set[str] = set()
    found: list[Path] = []
    for folder, subfolders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        found += [Path(folder) / name for name in names]
    return sorted(found)


def not_read(sources: Sequence[Source]) -> str:
    """Files of the sources' folders that are left out, by suffix and number; links that lead nowhere by name."""
    left: Counter[str] = Counter()
    for folder in (source.path for source in sources if source.path.is_dir()):
        for at in _inside(folder):
            if not at.exists():
                left[f"{at} (a link to nothing)"] += 1
            elif _is_text_of_its_own(at) and packed.suffix_of(at) not in KNOWN:
                left[f"*{at.suffix}" if at.suffix else at.name] += 1
    return ", ".join(f"{number} {name}" for name, number in sorted(left.items()))


def _download_of(path: Path) -> download_record.Record | None:
    """What `data download` wrote of the folder.

    Raises:
        DataError: it was stopped before all files were there.
    """
    fetched = download_record.read_record(path)
    if fetched and not fetched.complete:
        raise DataError(
            f"{path}: the download of {fetched.dataset} was stopped; run it again, or delete its "
            f"{download_record.NAME} to read what is there"
        )
    return fetched


def _is_text_of_its_own(path: Path) -> bool:
    """Not the record of a download, nor what it has not finished."""
    return path.is_file() and path.name != download_record.NAME and not path.name.startswith(".")


class LocalText(BaseReader):
    """Reads local files; each task takes every `world_size`-th file. Records without text come out empty.

    Args:
        files: what to read.
        max_bad_lines: JSONL lines of one task that may hold no record; each comes out as an empty document with
            `metadata.bad_line`, for BadLineFilter. One more ends the run.
    """

    name = "📁 Local text"

    def __init__(self, files: list[LocalFile], max_bad_lines: int = 0) -> None:
        super().__init__()
        self.files = files
        self.max_bad_lines = max_bad_lines

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        if data:
            yield from data
        num_bad = 0
        for file in self.files[rank::world_size]:
            for document in self.read_file(file):
                if BAD_LINE in document.metadata:
                    num_bad += 1
                    self._check(num_bad, document)
                self.update_doc_stats(document)
                yield document

    def read_file(self, file: LocalFile) -> Iterator[Document]:
        """The documents of one file.

        Raises:
            DataError: naming the file, the place and the remedy.
        """
        if file.suffix in PARQUET_SUFFIXES:
            records = _parquet_records(file.path, file.text_field)
        elif file.suffix in JSONL_SUFFIXES:
            records = _jsonl_records(file.path, file.text_field)
        else:
            records = _text_records(file.path)
        for place, record in records:
            yield _document(record, place, file)

    def _check(self, num_bad: int, document: Document) -> None:
        if num_bad > self.max_bad_lines:
            before = f"; {num_bad - 1:,} bad lines before it" if num_bad > 1 else ""
            raise DataError(
                f"{document.metadata[BAD_LINE]}{before}; mend it, or let a data recipe drop such lines up to a limit: "
                "max_bad_lines"
            )


def _document(record: "dict[str, Any] | _Bad", place: str, file: LocalFile) -> Document:
    if isinstance(record, _Bad):
        return Document(text="", id=place, metadata={"source": file.source, BAD_LINE: record.message})
    inner = record.get("metadata")
    known = {**inner, **record} if isinstance(inner, dict) else record
    metadata = {"source": file.source, "category": file.category, "license": file.license or "unknown"}
    metadata |= {key: str(known[key]) for key in (*metadata, "language") if known.get(key)}
    text = record.get(file.text_field)
    if text is not None and not isinstance(text, str):
        message = f"{place}: {file.text_field!r} holds {type(text).__name__}, not text; name another --text-field"
        return _document(_Bad(message), place, file)
    metadata = {key: value for key, value in metadata.items() if value}
    return Document(text=valid_unicode(text or ""), id=str(record.get(file.id_field) or place), metadata=metadata)


@dataclass(frozen=True)
class _Bad:
    """Stands for a line that holds no record."""

    message: str


def _parquet_records(path: Path, text_field: str) -> Iterator[tuple[str, "dict[str, Any] | _Bad"]]:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
        _require_field(str(path), text_field, schema.names)
        # every record comes back, those without text too: the default adapter would leave them out uncounted
        reader = ParquetReader(
            str(path.parent), adapter=lambda self, data, source, number: {"text": "-", "id": "-", "metadata": data}
        )
        for number, document in enumerate(reader.read_file(path.name)):
            document.metadata.pop("file_path", None)
            yield f"{path}#{number}", document.metadata
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a whole parquet file ({error}); fetch it again") from error


def _jsonl_records(path: Path, text_field: str) -> Iterator[tuple[str, "dict[str, Any] | _Bad"]]:
    offset = 0
    seen_record = False
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            place = f"{path}:{number}"
            record = _parse(line, place, path, offset)
            if isinstance(record, dict) and not seen_record:
                _require_field(place, text_field, list(record))
                seen_record = True
            yield place, record
        offset += len(line)


def _parse(line: bytes, place: str, path: Path, offset: int) -> "dict[str, Any] | _Bad":
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            # also takes lone surrogates, NaN and a byte order mark's line
            record = json.loads(text := _decode(line, path, offset).rstrip("\r\n"))
        except json.JSONDecodeError as error:
            return _Bad(f"{place}: not JSON ({error.msg} at column {error.colno}): {text.strip()[:60]!r}")
        except DataError as error:
            return _Bad(str(error))
    if not isinstance(record, dict):
        return _Bad(f"{place}: a line must hold one JSON object, not {type(record).__name__}")
    return record


def _require_field(place: str, text_field: str, names: list[str]) -> None:
    if text_field not in names:
        raise DataError(
            f"{place}: has no {text_field!r}, only {', '.join(map(repr, names))}; choose with --text-field, or "
            "text_field in a recipe"
        )


def _text_records(path: Path) -> Iterator[tuple[str, "dict[str, Any] | _Bad"]]:
    """A plain text file, cut at paragraphs (else lines) into parts of about PART_CHARACTERS."""
    text = _decode(b"".join(packed.lines_of(path)), path, 0)
    for number, part in enumerate(cut(text, PART_CHARACTERS)):
        yield f"{path}#{number}", {"text": part, "id": f"{path}#{number}"}


def cut(text: str, characters: int) -> Iterator[str]:
    """Parts of `text` of at least `characters`, cut after a paragraph, a line, or there; together they are `text`."""
    start = 0
    while len(text) - start > 1.5 * characters:
        window = text[start + characters : start + 2 * characters]
        match = re.search(r"\n\s*\n", window) or re.search(r"\n", window)
        end = start + characters + (match.end() if match else 0)
        yield text[start:end]
        start = end
    yield text[start:]


def _decode(content: bytes, path: Path, offset: int) -> str:
    try:
        return content.decode("utf-8-sig" if offset == 0 else "utf-8")
    except UnicodeDecodeError as error:
        place = f"byte {offset + error.start:,} (0x{content[error.start]:02x})"
        unpacked = " of the unpacked text" if path.suffix.lower() in packed.SUFFIXES else ""
        likely = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "gb18030"
        convert = f"iconv -f {likely} -t utf-8 {path.name} > {path.stem}.utf8{path.suffix}"
        raise DataError(f"{path}: not UTF-8 at {place}{unpacked}; convert it, for instance: {convert}") from None


def _lines(path: Path) -> Iterator[bytes]:
    for line in packed.lines_of(path):
        if len(line) > MANY_RECORDS_LINE_BYTES:
            raise DataError(f"{path}: a line of {len(line):,} bytes; JSONL has one record a line: jq -c '.[]'")
        yield line
