"""What the files in launch/ call: the `train` command for one recipe, under torchrun."""

import sys

from megatron_recipe import cli


def launch(recipe: str) -> None:
    """Run `megatron-recipe train RECIPE` with this process's arguments."""
    sys.argv = [sys.argv[0], "train", recipe, *sys.argv[1:]]
    cli.main()
