"""From text to a Megatron dataset in stages, each a visible list of datatrove blocks (data_prep/steps).

    collect → clean → deduplicate → train_tokenizer → write_dataset

Each stage reads the folder of the one before, can be repeated, and does nothing when it is done with these settings.
"""

from data_prep.recipe import DataRecipe, StageResult
from data_prep.steps.clean import clean
from data_prep.steps.collect import collect
from data_prep.steps.deduplicate import deduplicate
from data_prep.steps.train_tokenizer import train_tokenizer
from data_prep.steps.write_dataset import write_dataset
from megatron_recipe import console

STAGES = (collect, clean, deduplicate, train_tokenizer, write_dataset)


def prepare(recipe: DataRecipe) -> list[StageResult]:
    """Run all stages, say what each did, and return their results. Stages that are done are not run again."""
    results = []
    for stage in STAGES:
        result = stage(recipe)
        console.say(f"{result.summary}{' (done before)' if result.cached else f' ({result.seconds:.1f} s)'}")
        results.append(result)
    return results
