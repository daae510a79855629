"""The index of one epoch: in which order documents and samples of a split are read, built once and kept in files.

The arrays are Megatron's own for exactly one epoch. What is ours is where they stand and who builds them: a folder
that appears when it is whole, built by the first process that needs it while the others wait, whatever their ranks.
Its name says all that the arrays depend on, so that a folder that is there is the right one.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from megatron.core.datasets import helpers
from megatron.core.datasets.gpt_dataset import (
    GPTDataset,
    GPTDatasetConfig,
    _build_document_index,
    _build_shuffle_index,
)
from megatron.core.datasets.indexed_dataset import IndexedDataset
from megatron.core.datasets.utils import Split

from megatron_recipe.errors import DataError, MachineError
from megatron_recipe.files import full_disk_is_an_error

FORMAT = 1
ARRAYS = ("document_index", "sample_index", "shuffle_index")
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class IndexName:
    """All that the arrays of an epoch depend on."""

    split: str
    idx_sha256: str
    """Checksum of the .idx file: the lengths of all documents."""
    length_tokens: int
    seed: int

    @property
    def folder(self) -> str:
        """Name of the folder that holds the arrays."""
        return f"{FORMAT}-{self.split}-{self.length_tokens}-{self.seed}-{self.idx_sha256[:16]}"


class Epoch(GPTDataset):
    """One pass over a split, each sample once; the last tokens that fill no sample are left out.

    Args:
        indexed: shared by all epochs.
        documents: numbers of all its documents, shared too.
        caches: folders where the index may stand; it is built in the last.
    """

    def __init__(
        self,
        indexed: IndexedDataset,
        documents: np.ndarray,
        config: GPTDatasetConfig,
        name: IndexName,
        caches: Sequence[Path],
    ) -> None:
        self._name, self._caches = name, caches
        super().__init__(indexed, indexed.path_prefix, documents, None, Split.train, config)

    def _build_document_sample_shuffle_indices(self) -> Arrays:
        return load_or_build(self._name, self._caches, self.dataset.sequence_lengths)


def load_or_build(name: IndexName, caches: Sequence[Path], lengths: np.ndarray) -> Arrays:
    """The arrays of an epoch, mapped from their files; they are built where no cache has them.

    lengths: int32 tokens of each document.
    """
    for cache in caches:
        if (cache / name.folder).is_dir():
            return _load(cache / name.folder)
    cache = caches[-1]
    with full_disk_is_an_error(cache), _one_at_a_time(cache):
        if not (cache / name.folder).is_dir():
            _write(cache / name.folder, build(name, lengths))
    return _load(cache / name.folder)


def build(name: IndexName, lengths: np.ndarray) -> Arrays:
    """Shuffle documents, cut them into samples, shuffle those: Megatron's document, sample and shuffle index."""
    random = np.random.RandomState(name.seed)
    documents = _build_document_index(np.arange(len(lengths), dtype=np.int32), 1, random, False)
    tokens = int(lengths.sum(dtype=np.int64))
    samples = helpers.build_sample_idx(np.array(lengths), documents, name.length_tokens, 1, tokens, True, True)
    return documents, samples, _build_shuffle_index(len(samples) - 1, len(samples) - 1, random)


def _load(folder: Path) -> Arrays:
    try:
        documents, samples, order = (np.load(folder / f"{array}.npy", mmap_mode="r") for array in ARRAYS)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise MachineError(f"{folder}: {error.strerror}; allow more (ulimit -n 65536) and run again") from error
        raise DataError(f"{folder}: damaged ({error}); delete this folder, and it is built again") from error
    except (ValueError, EOFError) as error:
        raise DataError(f"{folder}: damaged ({error}); delete this folder, and it is built again") from error
    return documents, samples, order


def _write(folder: Path, arrays: Arrays) -> None:
    """Write under a name of this process's own and rename: right also where file systems don't know locks."""
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, array in zip(ARRAYS, arrays, strict=True):
            with (partial / f"{name}.npy").open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        partial.chmod(0o755)
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Wait for the processes that build in `cache`; on file systems without locks, don't wait."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("a") as lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
