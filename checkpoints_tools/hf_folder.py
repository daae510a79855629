"""Load an exported folder: its model and its tokenizer, quietly, with one clear error for a folder that is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megatron_recipe.errors import CheckpointError

if TYPE_CHECKING:
    import torch


def load_hf_tokenizer(folder: Path) -> Any:
    """The tokenizer of a Hugging Face folder. Raises CheckpointError where there is none or it cannot be loaded."""
    from transformers import AutoTokenizer

    require_file(folder, "tokenizer.json")
    with loading(folder):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def load_hf_model(folder: Path, dtype: "torch.dtype | None" = None, device: "torch.device | None" = None) -> Any:
    """The causal language model of a Hugging Face folder, ready to evaluate.

    dtype: None keeps the folder's. Raises CheckpointError where there is none or it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    require_file(folder, "config.json")
    logging.disable_progress_bar()
    with loading(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto", local_files_only=True)
    return model.to(device or "cpu").eval()


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Turn what transformers says of a damaged folder into a CheckpointError.

    The libraries below raise plain `Exception` for a tokenizer.json that was cut, and errors of their own for weights.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError | ImportError) or type(error).__name__ == "OutOfMemoryError":
            raise
        cause = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder}: transformers cannot load it ({cause}); export it again with to-hf") from error


def require_file(folder: Path, name: str) -> None:
    """Raise CheckpointError unless a Hugging Face folder holds a file."""
    if not (folder / name).is_file():
        raise CheckpointError(
            f"{folder}: not a Hugging Face folder (no {name}); `megatron-recipe convert to-hf RUN OUT` makes one"
        )
