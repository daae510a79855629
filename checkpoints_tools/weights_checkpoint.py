"""Write a checkpoint of weights alone, tensor by tensor, in the format of the trainer's own `weights` checkpoints.

The files are PyTorch's distributed checkpoint as Megatron writes it (see distcp.py for the format; stacked layers,
`decoder.layers.<name>` with a piece for each layer), and `dist_checkpointing.load` reads them. There are no
`_extra_state` entries: those are the FP8 scales of Transformer Engine, which weights from elsewhere don't have.
"""

import hashlib
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from megatron_recipe.checkpoint_integrity import HASHES, write_integrity, write_marker
from megatron_recipe.files import atomic_folder, write_json

DATA = "__0_0.distcp"
COMMON_STATE = "common_state/shard_0_1"  # megatron/core/dist_checkpointing/serialization.py, load_common_state_dict
BACKEND = {"sharded_backend": "torch_dist", "sharded_backend_version": 1}
"""metadata.json, by which Megatron knows the format (megatron/core/dist_checkpointing/core.py)."""


def write_weights_checkpoint(folder: Path, weights: Iterable[tuple[str, Tensor]], facts: dict[str, Any]) -> None:
    """Write a checkpoint that appears whole or not at all; each tensor is written as it comes and forgotten.

    Args:
        weights: Megatron's state-dict names with layer numbers, under the fused norm names, each once, in any order:
            `decoder.layers.3.mlp.linear_fc1.weight`, `embedding.word_embeddings.weight` with its padding.
        facts: what checkpoint.json says, at least format, step, vocab_size and model.
    """
    with atomic_folder(folder) as partial:
        with (partial / DATA).open("wb") as file:
            pieces = _Pieces(_HashingFile(file), facts["model"]["num_layers"])
            pieces.write_object(COMMON_STATE, {})
            for name, weight in weights:
                pieces.write(name, weight)
            file.flush()
            os.fsync(file.fileno())
        pieces.write_metadata(partial)
        write_json(partial / "metadata.json", BACKEND)
        write_json(partial / HASHES.format(0), {DATA: pieces.file.hash.hexdigest()})
        write_integrity(partial)
        write_marker(partial, {**facts, "kind": "weights", "weights_only": True})


class _HashingFile(io.RawIOBase):
    """Hands bytes on to a file, and hashes them while they are at hand."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash, self.length = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.length += memoryview(data).nbytes
        return self.file.write(data)


@dataclass
class _Pieces:
    """The data file, and what `.metadata` will say about it."""

    file: _HashingFile
    num_layers: int
    entries: dict[str, Any] = field(default_factory=dict)
    storage: dict[Any, Any] = field(default_factory=dict)

    def write_object(self, name: str, value: Any) -> None:
        """Write an object that is no tensor."""
        from torch.distributed.checkpoint.metadata import BytesStorageMetadata, MetadataIndex

        self.entries[name] = BytesStorageMetadata()
        self.storage[MetadataIndex(name)] = self._save([value])

    def write(self, name: str, weight: Tensor) -> None:
        """Write a whole weight, or one layer of a stacked one."""
        from torch.distributed.checkpoint.metadata import (
            ChunkStorageMetadata,
            MetadataIndex,
            TensorProperties,
            TensorStorageMetadata,
        )

        in_layer = re.match(r"decoder\.layers\.(\d+)\.(.+)$", name)
        stored = f"decoder.layers.{in_layer[2]}" if in_layer else name
        size = torch.Size((self.num_layers, *weight.shape) if in_layer else weight.shape)
        properties = TensorProperties(dtype=weight.dtype)
        entry = self.entries.setdefault(stored, TensorStorageMetadata(properties, size, []))
        offsets = torch.Size((int(in_layer[1]) if in_layer else 0, *(0 for _ in size[1:])))
        index = MetadataIndex(stored, offsets)
        assert (entry.size, entry.properties.dtype) == (size, weight.dtype), f"{name} is not like the other layers"
        assert index not in self.storage, f"{name} comes twice"
        piece = weight.detach().unsqueeze(0) if in_layer else weight.detach()
        entry.chunks.append(ChunkStorageMetadata(offsets, piece.shape))
        # a part of a larger tensor would be saved with all of it
        self.storage[index] = self._save(piece.clone(memory_format=torch.contiguous_format))

    def _save(self, value: Any) -> Any:
        from torch.distributed.checkpoint.filesystem import _StorageInfo

        start = self.file.length
        torch.save(value, self.file)
        return _StorageInfo(DATA, start, self.file.length - start)

    def write_metadata(self, folder: Path) -> None:
        """Write `.metadata`, which says where each piece lies."""
        import pickle

        from torch.distributed.checkpoint.metadata import Metadata

        for name, entry in self.entries.items():
            layers = len(getattr(entry, "chunks", ()))
            assert not name.startswith("decoder.layers.") or layers == self.num_layers, f"{name} has {layers} layers"
        with (folder / ".metadata").open("wb") as file:
            pickle.dump(Metadata(self.entries, None, self.storage, version="1.0.0"), file)
            file.flush()
            os.fsync(file.fileno())
