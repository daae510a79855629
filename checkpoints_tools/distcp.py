"""Read single tensors out of PyTorch's distributed checkpoints: no process group, and only the bytes that are needed.

`.metadata` is a pickle of torch.distributed.checkpoint.metadata.Metadata: every whole tensor, the pieces it was stored
in, and for each piece a file, an offset and a length. At that place lies what `torch.save` wrote: a zip archive without
compression of `data.pkl`, the layout of the piece, and `data/0`, its values (torch/serialization.py). The archive has a
CRC-32 of each, which is checked here; so damage is found in the one pass that reads the values.
"""

import pickle
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from checkpoints_tools.raw_values import fill
from megatron_recipe.errors import CheckpointError

LOCAL_HEADER_BYTES = 30
NAME_LENGTH_AT, EXTRA_LENGTH_AT = 26, 28  # 2 bytes each in a zip archive's local header (PKWARE's APPNOTE, 4.3.7)
REMEDY = "copy the checkpoint again, or take another one of the run"


@dataclass(frozen=True)
class Piece:
    """A stored part of a tensor: its place in the whole, and in the files."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: Path
    start: int
    length: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a checkpoint and all of its pieces."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: tuple[Piece, ...]


def read_stored_tensors(checkpoint: Path) -> dict[str, StoredTensor]:
    """{name: tensor} of a checkpoint, optimizer included; reads no values.

    Raises CheckpointError for a folder that is no torch_dist checkpoint.
    """
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata

    try:
        metadata = FileSystemReader(checkpoint).read_metadata()
        found = {}
        for name, entry in metadata.state_dict_metadata.items():
            if not isinstance(entry, TensorStorageMetadata):
                continue
            pieces = []
            for chunk in entry.chunks:
                place = metadata.storage_data[MetadataIndex(name, chunk.offsets)]
                file = checkpoint / place.relative_path
                pieces.append(Piece(tuple(chunk.offsets), tuple(chunk.sizes), file, place.offset, place.length))
            found[name] = StoredTensor(name, tuple(entry.size), entry.properties.dtype, tuple(pieces))
    except (OSError, EOFError, AttributeError, ImportError, KeyError, TypeError, pickle.UnpicklingError) as error:
        cause = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{checkpoint}: not a Megatron torch_dist checkpoint, or damaged ({cause}); {REMEDY}"
        ) from error
    return found


def read_region(stored: StoredTensor, layer: int | None = None) -> Tensor:
    """The values of a tensor, or of one index of its first dimension (which is then left out).

    Raises CheckpointError for a file that is missing, cut off or changed, and where pieces don't make up the whole.
    """
    shape = stored.shape if layer is None else stored.shape[1:]
    pieces = [piece for piece in stored.pieces if layer is None or _has_layer(piece, layer)]
    if sum(prod(_sizes_in(piece, layer)) for piece in pieces) != prod(shape):
        raise CheckpointError(
            f"{stored.name}: its {len(pieces)} pieces don't make up the whole, {list(shape)}; {REMEDY}"
        )
    result = torch.empty(shape, dtype=stored.dtype)
    for piece in pieces:
        offsets = piece.offsets if layer is None else piece.offsets[1:]
        place = result[tuple(slice(at, at + size) for at, size in zip(offsets, _sizes_in(piece, layer), strict=True))]
        if place.is_contiguous() and place.numel() == prod(piece.sizes):
            read_piece(piece, stored, place.view(-1))
            continue
        values = torch.empty(prod(piece.sizes), dtype=stored.dtype)
        read_piece(piece, stored, values)
        whole = values.view(piece.sizes)
        place.copy_(whole if layer is None else whole[layer - piece.offsets[0]])
    return result


def _has_layer(piece: Piece, layer: int) -> bool:
    return piece.offsets[0] <= layer < piece.offsets[0] + piece.sizes[0]


def _sizes_in(piece: Piece, layer: int | None) -> tuple[int, ...]:
    return piece.sizes if layer is None else piece.sizes[1:]


def read_piece(piece: Piece, stored: StoredTensor, into: Tensor) -> None:
    """Read the values of a piece into a flat tensor. Raises CheckpointError as `read_region` does."""
    try:
        with piece.file.open("rb", buffering=0) as file:
            archive = zipfile.ZipFile(_Window(file, piece.start, piece.length))
            folder = archive.namelist()[0].rsplit("/", 1)[0]
            layout = _LayoutUnpickler(archive.open(f"{folder}/data.pkl")).load()
            record = archive.getinfo(f"{folder}/data/{layout.key}")
            if not (layout.is_plain(piece.sizes) and record.file_size == record.compress_size == into.nbytes):
                raise CheckpointError(
                    f"{piece.file}: {stored.name} is stored as {layout}, not as a plain tensor of {list(piece.sizes)}; "
                    "it was not written by Megatron's own writer, which alone is read here"
                )
            _read_record(file, piece.start + record.header_offset, into, record.CRC)
    except FileNotFoundError:
        raise CheckpointError(f"{piece.file} is missing, which holds {stored.name}; {REMEDY}") from None
    except (OSError, EOFError, IndexError, KeyError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        cause = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{piece.file}: {stored.name} cannot be read ({cause or type(error).__name__}): the file is cut off or "
            f"changed; {REMEDY}"
        ) from error


def _read_record(file: IO[bytes], header_at: int, into: Tensor, checksum: int) -> None:
    file.seek(header_at)
    header = file.read(LOCAL_HEADER_BYTES)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (NAME_LENGTH_AT, EXTRA_LENGTH_AT))
    file.seek(header_at + LOCAL_HEADER_BYTES + name + extra)
    if zlib.crc32(fill(file, into)) != checksum:
        raise ValueError("its checksum differs")


class _Window:
    """A part of a file as a file of its own, for `zipfile`."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self.file, self.start, self.length, self.at = file, start, length, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.length)[whence]
        if self.at < 0:
            raise OSError("before the beginning")
        return self.at

    def read(self, size: int = -1) -> bytes:
        left = max(self.length - self.at, 0)
        self.file.seek(self.start + self.at)
        found = self.file.read(left if size < 0 else min(size, left))
        self.at += len(found)
        return found


@dataclass(frozen=True)
class _Layout:
    """What data.pkl says of a tensor: the record with its values, and how they lie there."""

    key: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def is_plain(self, sizes: tuple[int, ...]) -> bool:
        """Whether the record holds just the values of `sizes` in their order; strides of a dimension of 1 are free."""
        own = [(size, stride) for size, stride in zip(self.size, self.stride, strict=True) if size != 1]
        wanted = [size for size in sizes if size != 1]
        strides = [prod(wanted[index + 1 :]) for index in range(len(wanted))]
        return self.offset == 0 and own == list(zip(wanted, strides, strict=True))


class _LayoutUnpickler(pickle.Unpickler):
    """Reads the layout out of what `torch.save` pickled for one tensor, and can make nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Layout(storage[2], offset, tuple(size), tuple(stride))
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a plain tensor")

    def persistent_load(self, pid: Any) -> Any:
        return pid
