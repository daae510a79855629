"""Files packed with gzip, xz or zstandard, read as the bytes inside; a truncated one is an error, not a short file."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

from megatron_recipe.errors import DataError

SUFFIXES = (".gz", ".zst", ".xz")


def suffix_of(path: Path) -> str:
    """`.jsonl` of `A.JSONL.gz`."""
    name = path.name.lower()
    for compression in SUFFIXES:
        name = name.removesuffix(compression)
    return Path(name).suffix


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


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file; a damaged or truncated one is an error at the end of what can be read."""
    try:
        with open_binary(path) as file:
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
