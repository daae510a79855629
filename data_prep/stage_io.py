"""What the stages share: reading the shards of the one before, running blocks over them, saying what came of it."""

from collections.abc import Callable
from pathlib import Path

from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from data_prep.executor import Counts, run_blocks
from data_prep.plan import plan, source_names
from data_prep.recipe import DataRecipe, StageResult
from data_prep.stages import Stage, require, run_stage, sole_user
from megatron_recipe.errors import DataError


def run(recipe: DataRecipe, name: str, build: Callable[[Path], StageResult]) -> StageResult:
    """Run one stage, alone in the work folder, unless it is done; `build` gets the folder to fill."""
    stage = plan(recipe)[name]
    with sole_user(recipe.work):
        return run_stage(stage, build)


def reader(before: Stage) -> JsonlReader:
    """Reads the shards of a finished stage, task by task the shard of its rank."""
    return JsonlReader(str(before.folder / "documents"), compression=None, glob_pattern="*.jsonl", add_file_path=False)


def writer(folder: Path) -> JsonlWriter:
    """Writes the task's documents to ``FOLDER/RANK.jsonl``."""
    return JsonlWriter(str(folder), "${rank}.jsonl", compression=None)


def keep_dropped(blocks: list[PipelineStep], folder: Path) -> None:
    """Let each filter write what it drops, with the reason, to ``FOLDER/BLOCK/RANK.jsonl``."""
    for block in blocks:
        if hasattr(block, "exclusion_writer"):
            block.exclusion_writer = writer(folder / type(block).__name__)


def run_on(before: Stage, title: str, blocks: list[PipelineStep], folder: Path, recipe: DataRecipe) -> Counts:
    """Run blocks over all documents of a finished stage, and see that all of them were read."""
    total = require(before).documents_out
    shards = len(list((before.folder / "documents").glob("*.jsonl")))
    counts = run_blocks(title, blocks, folder / f"run_{title.replace(' ', '_')}", shards, recipe.executor, total)
    touch_shards(folder / "documents", shards)
    if counts.read != total:
        raise DataError(
            f"{before.folder}: {counts.read:,} of {total:,} documents can be read; delete {before.folder} and run again"
        )
    return counts


def touch_shards(documents: Path, shards: int) -> None:
    """A shard for every task, also for those that kept no document: later stages find their shard by its rank."""
    documents.mkdir(exist_ok=True)
    for rank in range(shards):
        (documents / f"{rank:05d}.jsonl").touch()


def require_some(counts: Counts, recipe: DataRecipe, stage: str, remedy: str) -> None:
    """Raise DataError if a stage kept nothing."""
    if counts.kept == 0:
        raise DataError(
            f"{source_names(recipe)}: {stage} left no document ({reasons(counts)}); {remedy} or give more text"
        )


def result(name: str, counts: Counts, summary: str) -> StageResult:
    """The result of a stage without its time, which `run_stage` takes."""
    return StageResult(name, counts.read, counts.kept, counts.dropped, counts.bytes, 0.0, summary)


def amount(counts: Counts) -> str:
    """``1,234 documents (5.6 MB)``."""
    return f"{counts.kept:,} documents ({counts.bytes / 1e6:,.1f} MB)"


def reasons(counts: Counts) -> str:
    """What was dropped, most frequent first, in words."""
    by_count = sorted(counts.dropped.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in by_count) or "none"
