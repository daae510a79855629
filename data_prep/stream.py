"""A corpus larger than the disk: each shard is read once, cleaned, tokenized and deleted, and only its tokens stay.

The blocks are those of `data prepare` but for what needs the whole corpus at hand: near duplicates and shared passages
stay (the large web sets were deduplicated by those who published them), exact duplicates go within a shard, and the
tokenizer must be there before.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import batched
from pathlib import Path

from datatrove.pipeline.base import PipelineStep

from data_prep.checks import refuse_foreign_folder
from data_prep.clean.catalog import build_cleaners
from data_prep.clean.length import LengthFilter
from data_prep.decontaminate.decontaminate import Decontaminate
from data_prep.decontaminate.index import EvaluationSet, build_index
from data_prep.dedup.seen import SeenFilter
from data_prep.executor import run_blocks, sum_statistics
from data_prep.growing_dataset import GrowingDataset
from data_prep.recipe import DataRecipe, Source, StageResult
from data_prep.sources.bad_lines import BadLineFilter
from data_prep.sources.local import LocalText, find_files
from data_prep.stages import FORMAT_VERSION, sole_user
from data_prep.tokenize_documents import SplitCounter, TokenizeDocuments
from data_prep.tokenizers.load import load_reference
from megatron_recipe import console
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.files import write_json


@dataclass(frozen=True)
class Shard:
    """One file of a corpus."""

    name: str
    """By which a restarted run knows it."""
    source: Source
    """The file here, and what is known of its records."""


Shards = Callable[[set[str]], Iterable[Shard]]
"""Yields the shards whose names are not in the set, in a fixed order; the next may be fetched meanwhile."""
Discard = Callable[[Path], None]


def stream(recipe: DataRecipe, shards: Shards, discard: Discard, max_tokens: int | None = None) -> StageResult:
    """Write `recipe.out` from shards that come one after the other.

    A run that was stopped goes on after the last shard that is in the dataset.

    Args:
        shards: see `Shards`.
        discard: called with a shard's file once its tokens are safe.
        max_tokens: stop after the shard with which the training split has this many; None takes all.

    Raises:
        ConfigError: the recipe has no tokenizer file, or a shuffle, for which documents would have to be at hand.
        DataError: a shard cannot be read, or an earlier run with other settings has begun the same dataset.
    """
    if recipe.tokenizer.file is None or recipe.dataset.shuffle:
        raise ConfigError("a stream needs tokenizer.file and no dataset.shuffle; `data prepare` can do without")
    refuse_foreign_folder(recipe.out)
    tokenizer = load_reference(recipe.tokenizer.file)
    with sole_user(recipe.work):
        growing = GrowingDataset(recipe.out.with_name(f".{recipe.out.name}.growing"), tokenizer)
        _same_settings(recipe, growing)
        index = _index(recipe)
        waiting = iter(shards(growing.names))
        workers = recipe.executor.num_workers
        while (max_tokens is None or growing.tokens < max_tokens) and (group := next(batched(waiting, workers), None)):
            _add_group(recipe, group, index, growing, max_tokens)
            for shard in group:
                discard(shard.source.path)
        if not growing.shards:
            raise DataError("there was no shard to read; check the subset and the limits")
        result = growing.finish(recipe, _fingerprint(recipe))
    shutil.rmtree(recipe.work, ignore_errors=True)
    return result


def _add_group(
    recipe: DataRecipe, group: tuple[Shard, ...], index: Path | None, growing: GrowingDataset, max_tokens: int | None
) -> None:
    """Tokenize several shards at a time, one a worker, and add them in their order."""
    folder = recipe.work / "group"
    shutil.rmtree(folder, ignore_errors=True)
    parts = folder / "parts"
    parts.mkdir(parents=True)
    title = f"shards {len(growing.shards) + 1}-{len(growing.shards) + len(group)}"
    run_blocks(title, _blocks(recipe, group, index, parts), folder / "run", len(group), recipe.executor)
    for rank, shard in enumerate(group):
        if max_tokens is not None and growing.tokens >= max_tokens:
            return
        counts = sum_statistics(folder / "run", [rank])
        result = StageResult("stream", counts.read, counts.kept, counts.dropped, counts.bytes, 0.0, "")
        growing.append(shard.name, parts, rank, result)
        console.say(
            f"{shard.name}: kept {counts.kept:,} of {counts.read:,} documents; {growing.tokens:,} training tokens now"
        )
    shutil.rmtree(folder)


def _blocks(recipe: DataRecipe, group: tuple[Shard, ...], index: Path | None, parts: Path) -> list[PipelineStep]:
    assert recipe.tokenizer.file is not None, "checked at the start"
    decontaminate = [Decontaminate(index, parts, recipe.decontaminate.min_share)] if index else []
    return [
        LocalText(find_files(tuple(shard.source for shard in group)), recipe.max_bad_lines),
        BadLineFilter(),
        LengthFilter(1),
        *build_cleaners(list(recipe.clean)),
        SeenFilter(),
        *decontaminate,
        TokenizeDocuments(recipe.tokenizer.file, parts, recipe.dataset.validation_share, recipe.seed),
        SplitCounter(parts),
    ]


def _index(recipe: DataRecipe) -> Path | None:
    if not recipe.decontaminate.against:
        return None
    folder = recipe.work / "index"
    build_index([EvaluationSet(given.path, given.fields) for given in recipe.decontaminate.against], folder)
    return folder


def _fingerprint(recipe: DataRecipe) -> str:
    """Of all that decides a shard's tokens."""
    assert recipe.tokenizer.file is not None, "checked at the start"
    shaping = recipe.model_dump(mode="json", include={"clean", "decontaminate", "dataset", "seed"})
    content = [FORMAT_VERSION, "stream", shaping, load_reference(recipe.tokenizer.file).fingerprint]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _same_settings(recipe: DataRecipe, growing: GrowingDataset) -> None:
    begun = growing.folder / "begun.json"
    if growing.shards and json.loads(begun.read_text(encoding="utf-8")) != _fingerprint(recipe):
        raise DataError(
            f"{growing.folder}: was begun with other settings and holds {len(growing.shards):,} shards; go back to "
            "those settings, or delete it and begin anew"
        )
    write_json(begun, _fingerprint(recipe))


def local_shards(sources: Iterable[Source], done: set[str]) -> Iterator[Shard]:
    """The files of local sources as shards, named by their path."""
    for source in sources:
        for file in find_files((source,)):
            if str(file.path) not in done:
                yield Shard(str(file.path), source.model_copy(update={"path": file.path, "name": file.source}))
