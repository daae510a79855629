"""Puts a dataset's folder together: merged pairs, held-out text, tokenizer, manifest. It appears when it is whole."""

import shutil
from pathlib import Path

import numpy as np

from data_prep.manifest import write_manifest
from data_prep.manifest_content import describe_dataset, read_counts, settings_of, sum_counts
from data_prep.megatron_writer import merge
from data_prep.recipe import DataRecipe, StageResult
from data_prep.stages import Stage
from data_prep.tokenize_documents import SPLITS, part
from data_prep.tokenizers.load import load_reference
from megatron_recipe.files import atomic_folder


def assemble(
    recipe: DataRecipe, parts: Path, model: Path, results: list[StageResult], stage: Stage
) -> tuple[dict[str, int], int]:
    """Write `recipe.out` from the tasks' parts.

    Args:
        results: of all stages that dropped documents, in order.
        stage: the writing stage; its fingerprint goes into the manifest.

    Returns:
        tokens of each split, and bytes on disk.

    Raises:
        DataError: a split has no documents.
    """
    files = sorted(parts.glob("*.counts.json"))
    ranks = [int(path.name.partition(".")[0]) for path in files]
    splits, sources = sum_counts(map(read_counts, files))
    tokenizer = load_reference(model)
    rng = np.random.default_rng(recipe.seed) if recipe.dataset.shuffle else None
    with atomic_folder(recipe.out) as folder:
        (folder / "tokenizer").mkdir()
        shutil.copyfile(model, folder / "tokenizer" / model.name)
        for split in SPLITS:
            prefixes = [part(parts, rank, split) for rank in ranks]
            # validation.jsonl is the text of the validation pair, document by document: that order stays
            merge(prefixes, folder / split, tokenizer.vocab_size, rng if split == "train" else None)
        _concatenate(
            [part(parts, rank, "validation").with_suffix(".jsonl") for rank in ranks], folder / "validation.jsonl"
        )
        content = describe_dataset(folder, splits, sources, tokenizer, results)
        write_manifest(folder, {**content, "settings": settings_of(recipe, stage.fingerprint)})
    tokens = {split: content["splits"][split]["tokens"] for split in SPLITS}
    return tokens, sum(path.stat().st_size for path in recipe.out.rglob("*") if path.is_file())


def _concatenate(paths: list[Path], output: Path) -> None:
    with output.open("wb") as whole:
        for path in paths:
            with path.open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)
