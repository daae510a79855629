"""What is trained on, and what is measured on."""

from pydantic import Field, field_validator

from megatron_recipe.home_paths import at_home
from megatron_recipe.settings import Section


class DatasetWeight(Section):
    """One dataset of a mix."""

    path: str
    """Folder made by `megatron-recipe data prepare`."""
    weight: float = Field(default=1.0, gt=0)
    """Share of the training samples, relative to the other weights."""

    @field_validator("path")
    @classmethod
    def _at_home(cls, path: str) -> str:
        return at_home(path)


class DataPhase(Section):
    """A new mix from a step on; a dataset of an earlier phase goes on where it stood."""

    from_step: int = Field(gt=0)
    """First step that draws from this mix."""
    datasets: list[DatasetWeight] = Field(min_length=1)
    """The mix, with its weights."""


class ValidationSet(Section):
    """A held-out set that is measured under its own name, besides the mix's own."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    """Stands in metrics.jsonl (`validation/NAME`) and in the report."""
    path: str
    """Dataset folder whose validation split is measured."""


class SampleRange(Section):
    """Positions in the order of the data, the first one included and the last one not."""

    first: int = Field(ge=0)
    """First position that is left out."""
    stop: int = Field(gt=0)
    """First position after it that is trained on again."""


class DataConfig(Section):
    """What is trained on."""

    datasets: list[DatasetWeight] = Field(min_length=1)
    """The mix of the first phase. All datasets of a run share one tokenizer."""
    phases: list[DataPhase] = Field(default_factory=list)
    """Later mixes, in the order of their steps; empty keeps the first mix to the end."""
    validation_sets: list[ValidationSet] = Field(default_factory=list)
    """Held-out sets measured besides that of the mix, which has a loss for each of its datasets too; empty measures the
    mix alone."""
    skip_samples: list[SampleRange] = Field(default_factory=list)
    """Positions in the data's order that are never trained on (`train --skip-samples FIRST:STOP`); empty skips none."""
    mask_between_documents: bool = False
    """Attention ends at document boundaries, and positions begin anew; false lets samples read across them."""
    seed: int = Field(default=1234, ge=0, lt=2**31)
    """Seed of the sample order."""
    num_workers: int = Field(default=2, ge=0)
    """Processes that read ahead for each rank; 0 reads in the training process."""
