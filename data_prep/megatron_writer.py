"""Writes tokens in Megatron-Core's dataset format: ``NAME.bin`` with the ids, ``NAME.idx`` with where documents start.

The bytes are those of ``IndexedDatasetBuilder`` in megatron/core/datasets/indexed_dataset.py (0.19.2), which is not
used since importing it loads torch: six seconds in each process, to write a file that numpy writes as well.

``.idx``, little endian:

    9 bytes   magic ``MMIDIDX\\0\\0``
    uint64    version, 1
    uint8     code of the ids' type: 4 for int32, 8 for uint16
    uint64    number of sequences S (here one for each document)
    uint64    number of document bounds D = documents + 1
    int32[S]  tokens in each sequence
    int64[S]  byte offset of each sequence in ``.bin``
    int64[D]  the sequence each document starts with, and S at the end

Documents keep the order in which they come unless a recipe asks for a shuffle. Megatron's GPTDataset shuffles documents
and samples anew for each epoch from the run's seed, so that order on disk does not reach the model; in the order of the
sources they stay easy to find.
"""

import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from megatron_recipe.errors import DataError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
HEADER = struct.Struct("<9sQBQQ")
DTYPE_CODES: dict[np.dtype, int] = {np.dtype(np.int32): 4, np.dtype(np.uint16): 8}
UINT16_BELOW_VOCAB_SIZE = 65_500


def dtype_for(vocab_size: int) -> np.dtype:
    """The type of ids that Megatron's ``DType.optimal_dtype`` chooses."""
    return np.dtype(np.uint16 if vocab_size < UINT16_BELOW_VOCAB_SIZE else np.int32)


class MegatronWriter:
    """Writes one pair; use as a context manager.

    Args:
        prefix: path without suffix.
        vocab_size: number of ids, decides their type.
        eod_id: appended to each document.
    """

    def __init__(self, prefix: Path, vocab_size: int, eod_id: int) -> None:
        self.prefix = prefix
        self.dtype = dtype_for(vocab_size)
        self.eod_id = eod_id
        self._lengths: list[npt.NDArray[np.int32]] = [np.zeros(0, dtype=np.int32)]

    def __enter__(self) -> "MegatronWriter":
        self._bin = self.prefix.with_suffix(".bin").open("wb", buffering=1 << 20)
        return self

    def __exit__(self, *error: object) -> None:
        self._bin.close()
        if error[0] is None:
            write_index(self.prefix.with_suffix(".idx"), np.concatenate(self._lengths), self.dtype)

    def add_documents(self, documents: Sequence[npt.NDArray[np.integer]]) -> None:
        """Append documents, none of them empty, each with an end-of-document after it."""
        if documents:
            self.add_batch(np.concatenate(documents), np.array([len(ids) for ids in documents], dtype=np.int64))

    def add_batch(self, ids: npt.NDArray[np.integer], lengths: npt.NDArray[np.int64]) -> None:
        """Append documents whose ids lie one after the other, each with an end-of-document after it.

        In whole arrays: short documents, of which a corpus has millions, cost no Python call each.

        Args:
            ids: of all documents.
            lengths: ids of each document, none of them 0.
        """
        assert lengths.all(), "an empty document must be skipped by the caller, which counts it"
        with_eod = np.empty(len(ids) + len(lengths), dtype=self.dtype)
        ends = np.cumsum(lengths + 1) - 1
        is_text = np.ones(len(with_eod), dtype=bool)
        is_text[ends] = False
        with_eod[is_text] = ids
        with_eod[ends] = self.eod_id
        self._bin.write(with_eod)
        self._lengths.append((lengths + 1).astype(np.int32))


def write_index(path: Path, lengths: npt.NDArray[np.int32], dtype: np.dtype) -> None:
    """Write the ``.idx`` of documents of these lengths, in tokens with their end-of-document, one sequence each."""
    pointers = np.zeros(len(lengths), dtype=np.int64)
    np.cumsum(lengths[:-1].astype(np.int64) * dtype.itemsize, out=pointers[1:])
    with path.open("wb") as file:
        file.write(HEADER.pack(MAGIC, VERSION, DTYPE_CODES[dtype], len(lengths), len(lengths) + 1))
        file.write(lengths.astype(np.int32).tobytes())
        file.write(pointers.tobytes())
        file.write(np.arange(len(lengths) + 1, dtype=np.int64).tobytes())


def merge(prefixes: Sequence[Path], output: Path, vocab_size: int, shuffle: np.random.Generator | None = None) -> None:
    """Join pairs of one type to one pair; the parts stay.

    Args:
        shuffle: draws an order of all documents; None keeps theirs. Takes 8 bytes of memory a document, and reads the
            parts in random places: their disk should be no tape.
    """
    lengths = [np.zeros(0, dtype=np.int32)]
    with output.with_suffix(".bin").open("wb", buffering=1 << 20) as whole:
        if shuffle is None:
            for prefix in prefixes:
                with prefix.with_suffix(".bin").open("rb") as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
                lengths.append(read_index(prefix.with_suffix(".idx")).lengths)
        else:
            lengths.append(_write_shuffled(prefixes, whole, shuffle))
    write_index(output.with_suffix(".idx"), np.concatenate(lengths).astype(np.int32), dtype_for(vocab_size))


def _write_shuffled(prefixes: Sequence[Path], whole: IO[bytes], shuffle: np.random.Generator) -> npt.NDArray[np.int32]:
    """Write the documents of all parts in a drawn order, and return their lengths in that order."""
    parts = [read_tokens(prefix) for prefix in prefixes]
    first = np.cumsum([0, *(len(index.lengths) for index, _ in parts)])
    order = shuffle.permutation(first[-1])
    part_of = np.searchsorted(first, order, side="right") - 1
    lengths = np.zeros(len(order), dtype=np.int32)
    for place, (number, part) in enumerate(zip(order.tolist(), part_of.tolist(), strict=True)):
        index, tokens = parts[part]
        document = number - int(first[part])
        start, length = int(index.pointers[document]) // index.dtype.itemsize, int(index.lengths[document])
        whole.write(tokens[start : start + length])
        lengths[place] = length
    return lengths


@dataclass(frozen=True)
class Index:
    """What an ``.idx`` says: ids' type, tokens of each sequence, byte offset of each, and the documents' bounds."""

    dtype: np.dtype
    lengths: npt.NDArray[np.int32]
    pointers: npt.NDArray[np.int64]
    document_bounds: npt.NDArray[np.int64]


def read_index(path: Path) -> Index:
    """Read and check an ``.idx``.

    Raises:
        DataError: it is missing, not an index, of another version, or its length is not what its header says.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the index ({error.strerror})") from error
    if len(content) < HEADER.size or not content.startswith(MAGIC):
        raise DataError(f"{path}: not a Megatron index (it must start with MMIDIDX); write the dataset again")
    _, version, code, num_sequences, num_bounds = HEADER.unpack_from(content)
    types = {number: dtype for dtype, number in DTYPE_CODES.items()}
    if version != VERSION or code not in types:
        raise DataError(f"{path}: version {version} with type code {code}; known are version 1 with 4 or 8")
    dtype: np.dtype = types[code]
    expected = HEADER.size + 12 * num_sequences + 8 * num_bounds
    if len(content) != expected:
        raise DataError(
            f"{path}: {len(content):,} bytes, but its header asks for {expected:,}; write the dataset again"
        )
    lengths = np.frombuffer(content, np.int32, num_sequences, HEADER.size)
    pointers = np.frombuffer(content, np.int64, num_sequences, HEADER.size + 4 * num_sequences)
    bounds = np.frombuffer(content, np.int64, num_bounds, HEADER.size + 12 * num_sequences)
    return Index(dtype, lengths, pointers, bounds)


def read_tokens(prefix: Path) -> tuple[Index, npt.NDArray[np.integer]]:
    """The index of a pair and its ids, mapped and not loaded.

    Raises:
        DataError: the ``.bin`` is missing or has not the length that the index says.
    """
    index = read_index(prefix.with_suffix(".idx"))
    path = prefix.with_suffix(".bin")
    expected = int(index.lengths.sum(dtype=np.int64)) * index.dtype.itemsize
    actual = path.stat().st_size if path.is_file() else -1
    if actual != expected:
        found = "is missing" if actual < 0 else f"has {actual:,} bytes"
        raise DataError(f"{path}: {found}, but its index asks for {expected:,}; write the dataset again")
    if expected == 0:
        return index, np.zeros(0, dtype=index.dtype)
    return index, np.memmap(path, dtype=index.dtype, mode="r")
