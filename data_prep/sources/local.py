"""The user's own text: JSONL, parquet and plain text files or folders of them, JSONL and text also compressed.

datatrove's JsonlReader is not used: it skips lines that are not JSON and the whole rest of a file that is not UTF-8
with a line in a log, and here both are errors that name the place. Its ParquetReader is used as it is.
"""

import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
import zstandard
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.readers.base import BaseReader
from datatrove.pipeline.readers.parquet import ParquetReader

from megatron_recipe.errors import DataError

JSONL_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet",)
TEXT_SUFFIXES = (".txt", ".text", ".md")
COMPRESSION_SUFFIXES = (".gz", ".zst", ".xz")
READABLE = "*.jsonl, *.txt (also .gz, .zst, .xz) and *.parquet"
PART_CHARACTERS = 50_000
"""Plain text files are cut at a paragraph near this length, so that one long file can fill both splits."""
MANY_RECORDS_LINE_BYTES = 64 << 20
"""A "line" longer than this is a JSON array or another format under the name of JSONL."""


@dataclass(frozen=True)
class LocalFile:
    """A file to read and the name of the source it belongs to."""

    path: Path
    source: str

    @property
    def suffix(self) -> str:
        """The suffix that names the format, without that of the compression."""
        name = self.path.name.lower()
        for compression in COMPRESSION_SUFFIXES:
            name = name.removesuffix(compression)
        return Path(name).suffix


def find_files(sources: tuple[Path, ...]) -> list[LocalFile]:
    """All readable files of the sources (files, or folders searched below), in a fixed order.

    Raises:
        DataError: a path does not exist, has an unknown suffix, or is a folder without readable files.
    """
    files: list[LocalFile] = []
    for source in sources:
        if source.is_file():
            file = LocalFile(source, source.name.partition(".")[0])
            if file.suffix not in JSONL_SUFFIXES + PARQUET_SUFFIXES + TEXT_SUFFIXES:
                raise DataError(f"{source}: cannot read {file.path.suffix or 'a file without suffix'}; give {READABLE}")
            files.append(file)
        elif source.is_dir():
            inside = [LocalFile(path, source.resolve().name) for path in sorted(source.rglob("*")) if path.is_file()]
            known = [f for f in inside if f.suffix in JSONL_SUFFIXES + PARQUET_SUFFIXES + TEXT_SUFFIXES]
            if not known:
                suffixes = ", ".join(sorted({f.path.suffix or f.path.name for f in inside})[:8]) or "nothing"
                raise DataError(f"{source}: holds no text files (found {suffixes}); give {READABLE}")
            files += known
        else:
            raise DataError(f"{source}: there is no such file or folder")
    return files


class LocalText(BaseReader):
    """Reads local files; each task takes every `world_size`-th file. Records without text come out empty.

    Args:
        files: what to read.
        text_field: the column or key that holds the text.
    """

    name = "📁 Local text"

    def __init__(self, files: list[LocalFile], text_field: str) -> None:
        super().__init__(text_key=text_field)
        self.files = files

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        if data:
            yield from data
        for file in self.files[rank::world_size]:
            for document in self.read_file(file):
                self.update_doc_stats(document)
                yield document

    def read_file(self, file: LocalFile) -> Iterator[Document]:
        """The documents of one file.

        Raises:
            DataError: naming the file, the place and the remedy.
        """
        if file.suffix in PARQUET_SUFFIXES:
            records = _parquet_records(file.path, self.text_key)
        elif file.suffix in JSONL_SUFFIXES:
            records = _jsonl_records(file.path, self.text_key)
        else:
            records = _text_records(file.path)
        for place, record in records:
            yield _document(record, place, file.source, self.text_key)


def _document(record: dict[str, Any], place: str, source: str, text_field: str) -> Document:
    inner = record.get("metadata")
    known = {**inner, **record} if isinstance(inner, dict) else record
    metadata = {key: str(known[key]) for key in ("source", "category", "license", "language") if known.get(key)}
    metadata = {"source": source, "license": "unknown"} | metadata
    text = record.get(text_field)
    if text is not None and not isinstance(text, str):
        raise DataError(f"{place}: {text_field!r} holds {type(text).__name__}, not text; name another --text-field")
    return Document(text=_valid_unicode(text or ""), id=str(record.get("id") or place), metadata=metadata)


def _valid_unicode(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate, which JSON can spell (``\\ud800``), becomes U+FFFD."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parquet_records(path: Path, text_field: str) -> Iterator[tuple[str, dict[str, Any]]]:
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


def _jsonl_records(path: Path, text_field: str) -> Iterator[tuple[str, dict[str, Any]]]:
    offset = 0
    seen_record = False
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            place = f"{path}:{number}"
            record = _parse(line, place, path, offset)
            if not seen_record:
                _require_field(place, text_field, list(record))
                seen_record = True
            yield place, record
        offset += len(line)


def _parse(line: bytes, place: str, path: Path, offset: int) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        text = _decode(line, path, offset).rstrip("\r\n")
        try:
            record = json.loads(text)  # also takes lone surrogates, NaN and a byte order mark's line
        except json.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON ({error.msg} at column {error.colno}): {text.strip()[:60]!r}") from None
    if not isinstance(record, dict):
        raise DataError(f"{place}: a line must hold one JSON object, not {type(record).__name__}")
    return record


def _require_field(place: str, text_field: str, names: list[str]) -> None:
    if text_field not in names:
        raise DataError(f"{place}: has no {text_field!r}, only {', '.join(map(repr, names))}; choose with --text-field")


def _text_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A plain text file, cut at paragraphs (else lines) into parts of about PART_CHARACTERS."""
    with open_binary(path) as file:
        content = b"".join(_whole(path, file))
    text = _decode(content, path, 0)
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
        unpacked = " of the unpacked text" if path.suffix.lower() in COMPRESSION_SUFFIXES else ""
        raise DataError(
            f"{path}: not UTF-8 at {place}{unpacked}; convert it, for instance: "
            f"iconv -f gb18030 -t utf-8 {path.name} > {path.stem}.utf8{path.suffix}"
        ) from None


def open_binary(path: Path) -> io.BufferedIOBase:
    """Open a file for reading its unpacked bytes, by its suffix."""
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
        case ".zst":
            return io.BufferedReader(_ZstdFile(path.open("rb")), buffer_size=1 << 20)
        case _:
            return path.open("rb")


def _lines(path: Path) -> Iterator[bytes]:
    with open_binary(path) as file:
        for line in _whole(path, file):
            if len(line) > MANY_RECORDS_LINE_BYTES:
                raise DataError(f"{path}: a line of {len(line):,} bytes; JSONL has one record a line: jq -c '.[]'")
            yield line


def _whole(path: Path, file: io.BufferedIOBase) -> Iterator[bytes]:
    """The lines of a file; a damaged or truncated one is an error at the end of what can be read."""
    try:
        yield from file
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise DataError(f"{path}: truncated or damaged ({error}); fetch it again, or unpack what is there") from error


class _ZstdFile(io.RawIOBase):
    """A zstd file of one or more frames that, unlike zstandard's own reader, notices a missing end."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.unpacked, self.frame = file, b"", zstandard.ZstdDecompressor().decompressobj()
        self.begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.unpacked:
            packed = (self.frame.unused_data if self.frame.eof else b"") or self.file.read(1 << 18)
            if not packed:
                if self.begun and not self.frame.eof:
                    raise EOFError("the last frame has no end")
                return 0
            if self.frame.eof:
                self.frame = zstandard.ZstdDecompressor().decompressobj()
            self.begun = True
            self.unpacked = self.frame.decompress(packed)
        count = min(len(buffer), len(self.unpacked))
        buffer[:count], self.unpacked = self.unpacked[:count], self.unpacked[count:]
        return count

    def close(self) -> None:
        self.file.close()
        super().close()
