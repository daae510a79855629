"""Write and read safetensors files tensor by tensor, so that no more than one tensor is in memory.

The format, as documented by huggingface/safetensors (README, "Format"): 8 bytes, the length of the header, little
endian; the header, JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}}, padded with
spaces; then the values, little endian, row by row, without holes. The library writes only what is in memory as a whole,
and reads through a map of the file that counts as the process's memory; hence this.
A folder with more than one file has model.safetensors.index.json: {"metadata", "weight_map": {name: file}}.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints_tools.raw_values import bytes_of, fill
from megatron_recipe.errors import CheckpointError, in_short
from megatron_recipe.files import write_json

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
LENGTH_BYTES = ALIGNMENT = 8
LARGEST_HEADER = 100_000_000
"""As in the library, which refuses larger ones."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies."""

    file: Path
    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]


def write_safetensors(
    folder: Path,
    shapes: dict[str, tuple[int, ...]],
    dtype: torch.dtype,
    tensors: Iterable[tuple[str, Tensor]],
    max_shard_bytes: int,
) -> dict[str, str]:
    """Write the weights of a model into files of at most `max_shard_bytes`, with an index if there are several.

    shapes: of all tensors, in the order in which `tensors` gives them. A tensor larger than a shard gets its own.
    Returns {file: SHA-256}.
    """
    shards = _shards(shapes, dtype, max_shard_bytes)
    source = iter(tensors)
    sums = {name: _write_file(folder / name, names, shapes, dtype, source) for name, names in shards.items()}
    if len(shards) > 1:
        total = sum(math.prod(shape) for shape in shapes.values())
        write_json(
            folder / INDEX,
            {
                "metadata": {"total_size": total * dtype.itemsize, "total_parameters": total},
                "weight_map": {name: file for file, names in shards.items() for name in names},
            },
        )
    return sums


def _shards(shapes: dict[str, tuple[int, ...]], dtype: torch.dtype, max_bytes: int) -> dict[str, list[str]]:
    """File name → tensors in it."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * dtype.itemsize
        if groups[-1] and filled + size > max_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    if len(groups) == 1:
        return {WHOLE: groups[0]}
    return {f"model-{i:05d}-of-{len(groups):05d}.safetensors": names for i, names in enumerate(groups, start=1)}


def _write_file(
    path: Path,
    names: list[str],
    shapes: dict[str, tuple[int, ...]],
    dtype: torch.dtype,
    tensors: Iterator[tuple[str, Tensor]],
) -> str:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        start, end = end, end + math.prod(shapes[name]) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shapes[name]), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in (len(text).to_bytes(LENGTH_BYTES, "little"), text):
            digest.update(part)
            file.write(part)
        for expected in names:
            name, tensor = next(tensors)
            assert (name, tuple(tensor.shape), tensor.dtype) == (expected, shapes[expected], dtype), f"not {expected}"
            values = bytes_of(tensor.contiguous())
            digest.update(values)
            file.write(values)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


class SafetensorsFolder:
    """The weights of a Hugging Face folder, one at a time.

    Raises CheckpointError, here for a missing or damaged file, in `read` for a missing or damaged weight.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = _files(folder)
        self.places: dict[str, Place] = {}
        for file in self.files:
            self.places.update(_read_header(file))

    def read(self, name: str) -> Tensor:
        """One weight, as stored, in memory of its own."""
        place = self.places.get(name)
        if place is None:
            raise CheckpointError(f"{self.folder}: lacks the weight {name}; export or download the folder again")
        result = torch.empty(place.shape, dtype=place.dtype)
        try:
            with place.file.open("rb", buffering=0) as file:
                file.seek(place.start)
                fill(file, result)
        except (OSError, EOFError) as error:
            raise CheckpointError(
                f"{place.file}: {name} cannot be read ({error}); export or download the folder again"
            ) from error
        return result


def _files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if not index.is_file():
        if not (folder / WHOLE).is_file():
            raise CheckpointError(
                f"{folder}: not a Hugging Face folder with safetensors (no {WHOLE}, no {INDEX}); "
                "`megatron-recipe convert to-hf RUN OUT` makes one"
            )
        return [folder / WHOLE]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: damaged ({in_short(error)}); export or download the folder again") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder / missing[0]} is missing ({len(missing)} of {len(names)} files in {INDEX}); "
            "export or download the folder again"
        )
    return [folder / name for name in names]


def _read_header(path: Path) -> dict[str, Place]:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if length > min(size, LARGEST_HEADER):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        start = LENGTH_BYTES + length
        header.pop("__metadata__", None)
        places = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            place = Place(path, start + begin, DTYPES[entry["dtype"]], tuple(entry["shape"]))
            if end - begin != math.prod(place.shape) * place.dtype.itemsize:
                raise ValueError(f"{name} has other bytes than its shape")
            if start + end > size:
                raise ValueError(f"cut off: {name} ends at byte {start + end:,} of {size:,}")
            places[name] = place
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"type {error} is not known" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({reason}); export or download the folder again"
        ) from error
    return places
