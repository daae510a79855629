"""The last stage: tokenize both splits to .bin/.idx, and write the dataset's folder with its manifest."""

from pathlib import Path

import numpy as np

from data_prep import stage_io
from data_prep.assemble import assemble
from data_prep.checks import refuse_foreign_folder
from data_prep.manifest import read_manifest
from data_prep.plan import last_text_stage, plan
from data_prep.recipe import DataRecipe, StageResult
from data_prep.split import effective_share
from data_prep.stages import SCRATCH, TEXT_STAGES, completed, require
from data_prep.steps.train_tokenizer import tokenizer_file
from data_prep.tokenize_documents import SplitCounter, TokenizeDocuments
from megatron_recipe import console
from megatron_recipe.errors import DataError


def write_dataset(recipe: DataRecipe) -> StageResult:
    """Write `recipe.out`.

    Raises:
        DataError: `recipe.out` holds something that is not a dataset, or a split would be empty.
    """
    stages = plan(recipe)
    stage = stages["write_dataset"]
    refuse_foreign_folder(recipe.out)

    def build(folder: Path) -> StageResult:
        before = last_text_stage(stages)
        parts = folder / SCRATCH / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        model = tokenizer_file(stages["train_tokenizer"])
        share = effective_share(recipe.dataset.validation_share, require(before).bytes_out)
        tokenize = TokenizeDocuments(model, parts, share, recipe.seed)
        blocks = [tokenize, SplitCounter(parts)]
        counts = stage_io.run_on(before, "tokenize", blocks, folder, recipe)
        earlier = [require(stages[name]) for name in TEXT_STAGES if name in stages]
        results = [*earlier, stage_io.result("write_dataset", counts, "")]
        tokens, counts.bytes = assemble(recipe, parts, model, results, stage)
        summary = f"wrote {tokens['train']:,} training and {tokens['validation']:,} validation tokens to {recipe.out}"
        return stage_io.result("write_dataset", counts, summary)

    is_written = _is_written(recipe.out, stage.fingerprint)
    if not is_written and (recipe.out / "manifest.json").is_file():
        console.say(f"{recipe.out}: another dataset, or a damaged one, stands there and will be replaced")
    if completed(stage) and not is_written:
        (stage.folder / "stage.json").unlink()  # the dataset was deleted or replaced since
    return stage_io.run(recipe, "write_dataset", build)


def _is_written(out: Path, fingerprint: str) -> bool:
    """Whether the dataset is there as it was written, by its manifest and the sizes of its files."""
    try:
        manifest = read_manifest(out)
        return manifest["settings"].get("fingerprint") == fingerprint and all(
            (out / f"{name}.bin").stat().st_size == split["tokens"] * np.dtype(split["dtype"]).itemsize
            and (out / f"{name}.idx").is_file()
            for name, split in manifest["splits"].items()
        )
    except (DataError, OSError):
        return False
