"""From text to a Megatron dataset in stages, each a visible list of datatrove blocks (data_prep/steps).

    collect → clean → deduplicate → decontaminate → train_tokenizer → write_dataset

Each stage reads the folder of the one before, can be repeated, and does nothing when it is done with these settings.
"""

from collections.abc import Callable

from data_prep.checks import check_recipe
from data_prep.recipe import DataRecipe, StageResult
from data_prep.steps.clean import clean
from data_prep.steps.collect import collect
from data_prep.steps.decontaminate import decontaminate
from data_prep.steps.deduplicate import deduplicate
from data_prep.steps.train_tokenizer import train_tokenizer
from data_prep.steps.write_dataset import write_dataset
from megatron_recipe import console

Step = Callable[[DataRecipe], StageResult]


def steps(recipe: DataRecipe) -> tuple[Step, ...]:
    """The stages of a recipe in their order; `decontaminate` is one only where the recipe names evaluation sets."""
    optional = (decontaminate,) if recipe.decontaminate.against else ()
    return (collect, clean, deduplicate, *optional, train_tokenizer, write_dataset)


def prepare(recipe: DataRecipe) -> list[StageResult]:
    """Run all stages, say what each did, and return their results. Stages that are done are not run again."""
    check_recipe(recipe)
    results = []
    for stage in steps(recipe):
        result = stage(recipe)
        console.say(f"{result.summary}{' (done before)' if result.cached else f' ({result.seconds:.1f} s)'}")
        results.append(result)
    return results
