"""What must be right before a run that evaluates benchmarks begins. Imports no heavy library."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from eval.harness import INSTALLING, find_data
from eval.suites import named
from megatron_recipe.config import Config
from megatron_recipe.errors import RecipeError

OFF = "; or set evaluation.every_steps=0"


def evaluation_problems(config: Config) -> Iterator[str]:
    """A message for each rule that the evaluation section breaks, with field, value and remedy."""
    evaluation, layout = config.evaluation, config.parallel
    if not evaluation.every_steps:
        return
    try:
        find_data(named(evaluation.tasks, "evaluation.tasks"), Path(evaluation.data_dir))
    except RecipeError as error:
        yield from (f"{line}{OFF}" for line in str(error).splitlines())
    if find_spec("lm_eval") is None:
        yield (
            f"evaluation.every_steps={evaluation.every_steps} needs lm-eval, which is not installed; "
            f"run {INSTALLING}{OFF}"
        )
    if layout.virtual_stages > 1 or layout.context > 1:
        yield (
            f"evaluation.every_steps={evaluation.every_steps} does not go with parallel.virtual_stages="
            f"{layout.virtual_stages} and parallel.context={layout.context}: one sequence at a time is neither "
            f"interleaved nor split; set both to 1{OFF}"
        )
