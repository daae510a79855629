"""`megatron-recipe convert compare`: a checkpoint and a Hugging Face folder, found, checked and compared."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from checkpoints_tools.compare_logits import Verdict, compare_logits
from checkpoints_tools.comparison_text import ComparisonText, choose_text, default_token_count
from checkpoints_tools.export_plan import DTYPES, dataset_of
from checkpoints_tools.hf_logits import read_config
from checkpoints_tools.inspect_checkpoint import inspect
from checkpoints_tools.megatron_checkpoint import (
    CheckpointReader,
    checkpoint_facts,
    find_checkpoint,
    model_config,
    verify_lists,
)
from checkpoints_tools.safetensors_files import SafetensorsFolder
from megatron_recipe.console import progress


@dataclass(frozen=True)
class Comparison:
    """What will be compared, and on what."""

    checkpoint: Path
    folder: Path
    text: ComparisonText


def prepare_comparison(
    source: Path, folder: Path, dataset: Path | None, text: Path | None, max_tokens: int | None
) -> Comparison:
    """Find both sides and the tokens to compare them on, by the folder's tokenizer.

    Raises CheckpointError for a side that is missing or damaged, DataError for text that is none.
    """
    checkpoint = find_checkpoint(source)
    verify_lists(checkpoint)
    read_config(folder)
    places = SafetensorsFolder(folder).places
    facts = checkpoint_facts(checkpoint)
    parameters = sum(prod(place.shape) for place in places.values())
    if text is None and dataset is None and "hf" not in facts:
        dataset = dataset_of(checkpoint, facts)
    chosen = choose_text(
        folder,
        text,
        dataset,
        vocab_size=facts["vocab_size"],
        max_length=model_config(facts).sequence_length_tokens,
        max_tokens=max_tokens or default_token_count(parameters, facts["vocab_size"]),
    )
    return Comparison(checkpoint, folder, chosen)


def compare_folders(comparison: Comparison, dtype: str) -> Verdict:
    """The verdict; dtype: `float32` or `bfloat16`, to compute in.

    Raises CheckpointError for a side that cannot be loaded, or that has changed since it was written.
    """
    inspect(comparison.folder, verify=True)
    verify_weights(comparison.checkpoint)
    verdict = compare_logits(comparison.checkpoint, comparison.folder, comparison.text.rows, arithmetic=DTYPES[dtype])
    return {**verdict, "text": comparison.text.origin}


def verify_weights(checkpoint: Path) -> None:
    """Read every weight once, with its checksum, which Megatron does not look at. Raises CheckpointError."""
    reader = CheckpointReader(checkpoint)
    with progress("verifying", sum(info.size_bytes for info in reader.weights.values()) / 1e6, "MB") as advance:
        for name, info in reader.weights.items():
            reader.read(name)
            advance(info.size_bytes / 1e6)
