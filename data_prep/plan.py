"""Which stages a recipe has, where they lie, and which settings each depends on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.checks import check_recipe
from data_prep.decontaminate.evaluation_sets import find_sets
from data_prep.recipe import DataRecipe
from data_prep.sources.installed import list_versions
from data_prep.sources.local import find_files, not_read
from data_prep.stages import TEXT_STAGES, Stage, completed
from megatron_recipe.files import sha256_file

LISTS = Path(__file__).parent / "clean" / "lists"
LIST_BLOCKS = ("adverts", "junk", "sensitive", "lists")


def plan(recipe: DataRecipe) -> dict[str, Stage]:
    """The stages by name, each linked to the one before it.

    Raises:
        DataError: a source does not exist or cannot be read.
    """
    stages: dict[str, Stage] = {}
    previous = None
    for number, (name, values) in enumerate(_settings(recipe).items(), 1):
        previous = stages[name] = Stage(name, recipe.work / f"{number}_{name}", values, previous)
    return stages


def last_text_stage(stages: dict[str, Stage]) -> Stage:
    """The stage whose documents become tokens."""
    return [stages[name] for name in TEXT_STAGES if name in stages][-1]


def _settings(recipe: DataRecipe) -> dict[str, dict[str, Any]]:
    """In the order of the pipeline: changing a setting redoes the stage it is listed at and those after it."""
    tokenizer, dataset = recipe.tokenizer, recipe.dataset
    split = {"validation_share": dataset.validation_share, "seed": recipe.seed}
    file = tokenizer.file
    settings: dict[str, dict[str, Any]] = {
        "collect": {"sources": _source_states(recipe), "max_bad_lines": recipe.max_bad_lines},
        "clean": {"blocks": list(recipe.clean), "files": _named_files(recipe.clean)},
        "deduplicate": recipe.deduplicate.model_dump(mode="json"),
    }
    if recipe.decontaminate.against:
        sets = [path for given in recipe.decontaminate.against for _, path in find_sets(given.path)]
        states = [[str(path.absolute()), _state(path)] for path in sets]
        settings["decontaminate"] = recipe.decontaminate.model_dump(mode="json") | {"files": states}
    return settings | {
        "train_tokenizer": (
            {"file": str(file), "sha256": sha256_file(file) if file.is_file() else None}
            if file
            else {"vocab_size": tokenizer.vocab_size, **split}
        ),
        "write_dataset": {"out": str(recipe.out.absolute()), "shuffle": dataset.shuffle, **split},
    }


def _source_states(recipe: DataRecipe) -> list[Any]:
    """What the sources are now: a changed file or an upgraded package is another corpus."""
    if not recipe.sources:
        return list_versions()
    return [
        [str(f.path.absolute()), _state(f.path), f.source, f.category, f.license, f.text_field]
        for f in find_files(recipe.sources)
    ]


def _named_files(blocks: tuple[dict[str, dict[str, Any]], ...]) -> dict[str, str]:
    """The content of the word lists that cleaning blocks read, the project's and the user's: both are for editing."""
    values = [value for block in blocks for settings in block.values() for value in settings.values()]
    names = [name for value in values for name in (value if isinstance(value, list) else [value])]
    given = [Path(name) for name in names if isinstance(name, str) and Path(name).is_file()]
    shipped = sorted(LISTS.glob("*.txt")) if any(name in LIST_BLOCKS for block in blocks for name in block) else []
    return {path.name if path in shipped else str(path): sha256_file(path) for path in (*shipped, *given)}


def _state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def describe(recipe: DataRecipe) -> Iterator[str]:
    """What a run would read and do, one line each; reads no text.

    Raises:
        ConfigError: the recipe names an unknown cleaning block or setting.
        DataError: a source does not exist or cannot be read.
    """
    check_recipe(recipe)
    if recipe.sources:
        files = find_files(recipe.sources)
        megabytes = sum(file.path.stat().st_size for file in files) / 1e6
        yield f"read {len(files):,} files ({megabytes:,.1f} MB): {source_names(recipe)}"
        if left_out := not_read(recipe.sources):
            yield f"not read, for they are no text: {left_out}"
    else:
        yield f"read the text of {len(list_versions()):,} installed distributions, and the Chinese idioms if installed"
    for stage in plan(recipe).values():
        settings = ", ".join(f"{name}={value}" for name, value in stage.settings.items() if name not in UNSAID)
        yield f"{'done' if completed(stage) else 'run '}  {stage.name:<16} {settings}"
    executor = recipe.executor
    workers = executor.num_workers if executor.kind == "local" else executor.workers or "as many as there is room for"
    yield f"write {recipe.out} with {workers} processes ({executor.kind})"


UNSAID = ("sources", "files")


def source_names(recipe: DataRecipe) -> str:
    """The sources as the user named them."""
    return ", ".join(str(source.path) for source in recipe.sources) or "the installed documentation"
