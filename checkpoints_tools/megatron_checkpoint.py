"""Read a Megatron `torch_dist` checkpoint on a CPU: no process groups, no GPU, no Megatron, no Transformer Engine.

Megatron's format (megatron/core/dist_checkpointing/strategies/torch.py) is PyTorch's distributed checkpoint: a
`.metadata` that lists every whole tensor and where its pieces lie, so the layout that wrote it does not matter here.
Layers come in two forms, and both are read: stacked, `decoder.layers.<name>` with a leading layer dimension, and
single, `decoder.layers.<i>.<name>`, where linear_fc1 is also cut into `_w` (gate) and `_v` (up).
"""

import json
import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from megatron_recipe.errors import CheckpointError
from megatron_recipe.files import sha256_file

if TYPE_CHECKING:
    from megatron_recipe.config import ModelConfig

MODEL_KEY = re.compile(r"^(?:model\d*\.|module\.)*((?:embedding|decoder|output_layer)\..+)$")
NOT_A_WEIGHT = "_extra_state"
COMPLETE = "checkpoint.json"


@dataclass(frozen=True)
class TensorInfo:
    """Shape and type of one tensor of a checkpoint."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def find_checkpoint(path: Path) -> Path:
    """The checkpoint meant by a checkpoint folder, a run folder or its `checkpoints` folder (newest complete one).

    Raises CheckpointError where there is none.
    """
    if (path / ".metadata").is_file():
        if not (path / COMPLETE).is_file():
            raise CheckpointError(
                f"{path}: {COMPLETE} is missing, so this checkpoint was not written to the end; take an older one"
            )
        return path
    for folder in (path / "checkpoints", path):
        complete = [file.parent for file in folder.glob(f"*/{COMPLETE}") if (file.parent / ".metadata").is_file()]
        if complete:
            return max(complete, key=lambda checkpoint: checkpoint_facts(checkpoint)["step"])
    raise CheckpointError(
        f"{path}: no complete checkpoint here; give a run folder (runs/<name>) or one of its checkpoints/step_* folders"
    )


def checkpoint_facts(checkpoint: Path) -> dict[str, Any]:
    """What checkpoint.json says: step, samples, tokens, losses, vocabulary size and the model section of the config.

    Raises CheckpointError where it cannot be read or lacks one of them.
    """
    try:
        facts: dict[str, Any] = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
        missing = [name for name in ("step", "vocab_size", "model") if name not in facts]
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{checkpoint / COMPLETE}: not readable ({error}); take another checkpoint") from error
    if missing:
        raise CheckpointError(
            f"{checkpoint / COMPLETE}: lacks {', '.join(missing)}, so it is not of this project's trainer; "
            "give a checkpoint that `megatron-recipe train` wrote"
        )
    return facts


def model_config(facts: dict[str, Any]) -> "ModelConfig":
    """The model section of a checkpoint's facts. Raises CheckpointError for one of another version of this project."""
    from pydantic import ValidationError

    from megatron_recipe.config import ModelConfig

    try:
        return ModelConfig.model_validate(facts["model"])
    except ValidationError as error:
        problem = error.errors()[0]
        raise CheckpointError(
            f"{COMPLETE}: model.{'.'.join(map(str, problem['loc']))}: {problem['msg']}; "
            "the checkpoint is of another architecture or version of this project"
        ) from error


def verify_integrity(checkpoint: Path) -> None:
    """Hash every file that Megatron's integrity.json lists. Raises CheckpointError for a changed or missing one.

    Megatron's own check does the same behind an import of 5 seconds; a checkpoint without the list passes.
    """
    listing = checkpoint / "integrity.json"
    if not listing.is_file():
        return
    for name, expected in json.loads(listing.read_text(encoding="utf-8"))["files"].items():
        file = checkpoint / name
        if not file.is_file() or sha256_file(file) != expected:
            raise CheckpointError(
                f"{file}: missing or changed since it was written; take another checkpoint of the run"
            )


def read_index(checkpoint: Path) -> dict[str, TensorInfo]:
    """{name: shape and type} of all tensors of a checkpoint, optimizer included; reads no tensor.

    Raises CheckpointError for a folder that is no torch_dist checkpoint.
    """
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    try:
        entries = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    except (OSError, EOFError, AttributeError, ImportError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{checkpoint}: not a Megatron torch_dist checkpoint, or damaged ({error})") from error
    return {
        name: TensorInfo(tuple(entry.size), entry.properties.dtype)
        for name, entry in entries.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def model_index(checkpoint: Path) -> dict[str, TensorInfo]:
    """The part of `read_index` that is the model's weights, under the names of the file."""
    return {
        name: info
        for name, info in read_index(checkpoint).items()
        if MODEL_KEY.match(name) and NOT_A_WEIGHT not in name
    }


def read_model_weights(checkpoint: Path) -> dict[str, Tensor]:
    """All weights of the model, as saved, under Megatron's names with layer numbers (`decoder.layers.<i>.…`).

    Raises CheckpointError for a damaged checkpoint or one that holds no GPT.
    """
    from torch.distributed.checkpoint import FileSystemReader, load
    from torch.distributed.checkpoint.api import CheckpointException

    index = model_index(checkpoint)
    if not index:
        raise CheckpointError(f"{checkpoint}: holds no weights of a Megatron GPT (no embedding or decoder)")
    weights: dict[str, Any] = {name: torch.empty(info.shape, dtype=info.dtype) for name, info in index.items()}
    try:
        with warnings.catch_warnings():
            # no process group is just what is meant here
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(weights, storage_reader=FileSystemReader(checkpoint), no_dist=True)
    except (CheckpointException, OSError, RuntimeError, ValueError) as error:
        cause = " ".join(str(error).split())[-200:]
        raise CheckpointError(f"{checkpoint}: damaged ({cause}); take another checkpoint of the run") from error
    return with_layer_numbers({MODEL_KEY.sub(r"\1", name): weight for name, weight in weights.items()})


def with_layer_numbers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stacked layers as one view per layer, and cut linear_fc1 joined again: names as in a model's state dict."""
    result: dict[str, Tensor] = {}
    for name, weight in weights.items():
        stacked = re.match(r"decoder\.layers\.(?!\d+\.)(.+)$", name)
        if stacked:
            result.update({f"decoder.layers.{index}.{stacked[1]}": layer for index, layer in enumerate(weight)})
        else:
            result[name] = weight
    for gate in [name for name in result if name.endswith("linear_fc1.weight_w")]:
        whole = gate.removesuffix("_w")
        result[whole] = torch.cat([result.pop(gate), result.pop(f"{whole}_v")])
    return result
