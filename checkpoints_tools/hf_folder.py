"""Load an exported folder: its model and its tokenizer, quietly, with one clear error for a folder that is none."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from megatron_recipe.errors import CheckpointError

if TYPE_CHECKING:
    import torch


def load_hf_tokenizer(folder: Path) -> Any:
    """The tokenizer of a Hugging Face folder. Raises CheckpointError where there is none."""
    from transformers import AutoTokenizer

    require_file(folder, "tokenizer.json")
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def load_hf_model(folder: Path, dtype: "torch.dtype | None" = None, device: "torch.device | None" = None) -> Any:
    """The causal language model of a Hugging Face folder, ready to evaluate.

    dtype: None keeps the folder's. Raises CheckpointError where there is none or it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    require_file(folder, "config.json")
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto", local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder}: transformers cannot load it ({cause}); export it again with to-hf") from error
    return model.to(device or "cpu").eval()


def require_file(folder: Path, name: str) -> None:
    """Raise CheckpointError unless a Hugging Face folder holds a file."""
    if not (folder / name).is_file():
        raise CheckpointError(
            f"{folder}: not a Hugging Face folder (no {name}); `megatron-recipe convert to-hf RUN OUT` makes one"
        )
