"""What the stages share: reading the shards of the one before, running blocks over them, saying what came of it."""

from collections import Counter
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


def reader(documents: Path) -> JsonlReader:
    """Reads a folder of shards, task by task the shard of its rank."""
    return JsonlReader(str(documents), compression=None, glob_pattern="*.jsonl", add_file_path=False)


def writer(folder: Path) -> JsonlWriter:
    """Writes the task's documents to ``FOLDER/RANK.jsonl``."""
    return JsonlWriter(str(folder), "${rank}.jsonl", compression=None)


def keep_dropped(blocks: list[PipelineStep], folder: Path) -> None:
    """Let each filter write what it drops, with the reason, to ``FOLDER/BLOCK/RANK.jsonl``.

    BLOCK is the class; a second block of a class is ``CLASS2``.
    """
    seen: Counter[str] = Counter()
    for block in blocks:
        if hasattr(block, "exclusion_writer"):
            name = type(block).__name__
            seen[name] += 1
            block.exclusion_writer = writer(folder / (name if seen[name] == 1 else f"{name}{seen[name]}"))


def run_on(before: Stage, title: str, blocks: list[PipelineStep], folder: Path, recipe: DataRecipe) -> Counts:
    """Run blocks over all documents of a finished stage, and see that all of them were read.

    Args:
        blocks: what comes after the reader; the last may be the writer of ``FOLDER/documents``.
    """
    counts = run_over(before.folder / "documents", require(before).documents_out, title, blocks, folder, recipe)
    touch_shards(folder / "documents", num_shards(before.folder / "documents"))
    return counts


def run_over(
    documents: Path, total: int, title: str, blocks: list[PipelineStep], folder: Path, recipe: DataRecipe
) -> Counts:
    """Run blocks over the `total` documents of a folder of shards, one task a shard."""
    run_folder = folder / f"run_{title.replace(' ', '_')}"
    shards = num_shards(documents)
    counts = run_blocks(title, [reader(documents), *blocks], run_folder, shards, recipe.executor, total)
    if counts.read != total:
        raise DataError(
            f"{documents}: {counts.read:,} of {total:,} documents can be read; delete {documents.parent} and run again"
        )
    return counts


def num_shards(documents: Path) -> int:
    """Shards in a folder of documents."""
    return len(list(documents.glob("*.jsonl")))


def touch_shards(documents: Path, shards: int) -> None:
    """A shard for every task, also for those that kept no document: later stages find their shard by its rank."""
    documents.mkdir(parents=True, exist_ok=True)
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
    return StageResult(
        name, counts.read, counts.kept, counts.dropped, counts.bytes, 0.0, summary, changes=counts.changes
    )


def amount(counts: Counts) -> str:
    """``1,234 documents (5.6 MB)``."""
    return f"{counts.kept:,} documents ({counts.bytes / 1e6:,.1f} MB)"


def reasons(counts: Counts) -> str:
    """What was dropped, most frequent first, in words."""
    return in_words(dict(sorted(counts.dropped.items(), key=lambda item: -item[1]))) or "none"


def in_words(numbers: dict[str, int]) -> str:
    """``1,234 near duplicate, 5 empty``."""
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items())
