"""Benchmarks while the model is trained."""

from pydantic import Field

from megatron_recipe.settings import Section


class EvaluationConfig(Section):
    """Benchmarks in the training loop, by lm-eval's rules on local questions: scores on the same axis as the loss."""

    every_steps: int = Field(default=0, ge=0)
    """Steps between evaluations; the last step has one too. 0 is off. Needs `pip install 'megatron-recipe[eval]'`."""
    tasks: list[str] = Field(default=["core"], min_length=1)
    """Suites or single benchmarks, as `eval run` takes them."""
    data_dir: str = "evalsets"
    """Folder of the questions, as `eval download` writes it; nothing else is read."""
    limit: int | None = Field(default=500, gt=0)
    """First questions of each of lm-eval's tasks (`mmlu_light` is a part already): 500 leave a score about 2 points of
    standard error. null takes all."""
