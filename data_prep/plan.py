"""Which stages a recipe has, where they lie, and which settings each depends on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.recipe import DataRecipe
from data_prep.sources.installed import list_versions
from data_prep.sources.local import find_files
from data_prep.stages import Stage, completed


def plan(recipe: DataRecipe) -> dict[str, Stage]:
    """The stages by name, each linked to the one before it.

    Raises:
        DataError: a source does not exist or cannot be read.
    """
    # in the order of the pipeline: changing a setting redoes the stage it is listed at and those after it
    settings: dict[str, dict[str, Any]] = {
        "collect": {"sources": _source_states(recipe), "text_field": recipe.text_field},
        "clean": {"min_characters": recipe.min_characters},
        "deduplicate": {"near_threshold": recipe.near_threshold},
        "train_tokenizer": {
            "vocab_size": recipe.vocab_size,
            "validation_share": recipe.validation_share,
            "seed": recipe.seed,
        },
        "write_dataset": {"out": str(recipe.out.absolute())},
    }
    stages: dict[str, Stage] = {}
    previous = None
    for number, (name, values) in enumerate(settings.items(), 1):
        previous = stages[name] = Stage(name, recipe.work / f"{number}_{name}", values, previous)
    return stages


def _source_states(recipe: DataRecipe) -> list[str]:
    """What the sources are now: a changed file or an upgraded package is another corpus."""
    if not recipe.sources:
        return list_versions()
    return [f"{f.path.absolute()} {_state(f.path)} {f.source}" for f in find_files(recipe.sources)]


def _state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def describe(recipe: DataRecipe) -> Iterator[str]:
    """What a run would read and do, one line each; reads no text.

    Raises:
        DataError: a source does not exist or cannot be read.
    """
    if recipe.sources:
        files = find_files(recipe.sources)
        megabytes = sum(file.path.stat().st_size for file in files) / 1e6
        yield f"read {len(files):,} files ({megabytes:,.1f} MB): {', '.join(map(str, recipe.sources))}"
    else:
        yield f"read the text of {len(list_versions()):,} installed distributions, and the Chinese idioms if installed"
    for stage in plan(recipe).values():
        settings = ", ".join(f"{name}={value}" for name, value in stage.settings.items() if name != "sources")
        yield f"{'done' if completed(stage) else 'run '}  {stage.name:<16} {settings}"
    yield f"write {recipe.out} with {recipe.num_workers} processes"
