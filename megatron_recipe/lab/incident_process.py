"""The process of an incident's run: what is done to the run surrounds its training.

On a GPU it is a command of its own: python -m megatron_recipe.lab.incident_process --config FILE --run-dir DIR
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from pydantic import TypeAdapter

from megatron_recipe.config import Config
from megatron_recipe.files import write_json
from megatron_recipe.lab.incident import AnyChange
from megatron_recipe.lab.incident_plan import Act, with_values

CHANGES = "changes.json"
"""In the run folder: what is done to the run, and where the files for it are."""


def note_changes(act: Act) -> None:
    """Write down what is done to a run, for its process and for whoever reads it later."""
    values = {
        "changes": [change.model_dump(mode="json") for change in act.changes],
        "files": str(act.files),
        "control": str(act.control),
        "config": act.config.model_dump(mode="json"),
    }
    write_json(act.folder / CHANGES, values)


def noted_config(folder: Path) -> Config | None:
    """What the run in `folder` was planned with, before the changes made their files; None where nothing was noted."""
    path = folder / CHANGES
    if not path.is_file():
        return None
    return Config.model_validate(json.loads(path.read_text(encoding="utf-8"))["config"])


def train_changed(config: Config, folder: Path) -> None:
    """Train as `megatron_recipe.train.train` does, with what `CHANGES` in `folder` says done to it.

    Raises as it does.
    """
    from megatron_recipe.train import train

    noted = json.loads((folder / CHANGES).read_text(encoding="utf-8"))
    changes: list[AnyChange] = TypeAdapter(list[AnyChange]).validate_python(noted["changes"])
    for change in changes:
        config = with_values(config, change.prepare(config, Path(noted["files"]), Path(noted["control"])))
    with ExitStack() as around:
        for change in changes:
            around.enter_context(change.inside(config))
        train(config, folder)


def main() -> int:
    """Train by the command line's options; returns the exit code, 2 for what the user can mend."""
    import argparse

    from megatron_recipe.errors import RecipeError
    from megatron_recipe.light_imports import light_imports
    from megatron_recipe.recipes import load_config

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    options = parser.parse_args()
    try:
        with light_imports():
            import megatron_recipe.train  # noqa: F401
        train_changed(load_config(options.config), options.run_dir)
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
