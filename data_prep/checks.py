"""What of a recipe can be seen to be wrong before hours of reading."""

import os
from pathlib import Path

from data_prep.clean.catalog import build_cleaners
from data_prep.recipe import DataRecipe
from data_prep.tokenizers.load import load_reference
from megatron_recipe.errors import ConfigError, DataError, MachineError
from megatron_recipe.files import existing_part


def check_recipe(recipe: DataRecipe) -> None:
    """Check cleaning blocks, an existing tokenizer, and where the dataset and the work go.

    Raises:
        ConfigError: an unknown block or setting, or places that lie in one another.
        DataError: the tokenizer cannot be read, or `recipe.out` holds something that is not a dataset.
        MachineError: a place cannot be written to.
    """
    build_cleaners(list(recipe.clean))
    if recipe.tokenizer.file:
        load_reference(recipe.tokenizer.file)
    _check_places(recipe)
    refuse_foreign_folder(recipe.out)


def _check_places(recipe: DataRecipe) -> None:
    out, work = recipe.out.resolve(), recipe.work.resolve()
    if out == work or out in work.parents or work in out.parents:
        raise ConfigError(f"--out {recipe.out} and --work {recipe.work}: one lies in the other; choose two folders")
    for source in recipe.sources:
        folder = source.path.resolve()
        for option, place, given in (("--out", out, recipe.out), ("--work", work, recipe.work)):
            if source.path.is_dir() and (folder == place or folder in place.parents):
                raise ConfigError(
                    f"{option} {given} lies in the source {source.path}, and would be read with it; "
                    f"choose a folder outside, for example {option} ../{place.name}"
                )
    for option, place in (("--out", out), ("--work", work)):
        existing = existing_part(place)
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise MachineError(f"{option} {place}: {existing} cannot be written to; name a place that you may write to")


def refuse_foreign_folder(out: Path) -> None:
    """A dataset may replace a dataset, and nothing else."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "manifest.json").exists())):
        raise DataError(f"{out}: exists and is not a dataset; choose another --out or move it away")
