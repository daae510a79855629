"""Stage 2: mend text, label its language, and drop what is no text to learn from, each document for a reason."""

from pathlib import Path

from data_prep import stage_io
from data_prep.clean.catalog import build_cleaners
from data_prep.plan import plan
from data_prep.recipe import DataRecipe, StageResult


def clean(recipe: DataRecipe) -> StageResult:
    """Run the recipe's cleaning blocks; ``dropped/BLOCK/`` keeps what each dropped.

    Raises:
        ConfigError: the recipe names an unknown block or setting.
        DataError: no document is left.
    """
    cleaners = build_cleaners(list(recipe.clean))

    def build(folder: Path) -> StageResult:
        before = plan(recipe)["collect"]
        stage_io.keep_dropped(cleaners, folder / "dropped")
        blocks = [*cleaners, stage_io.writer(folder / "documents")]
        counts = stage_io.run_on(before, "clean", blocks, folder, recipe)
        stage_io.require_some(counts, recipe, "clean", "make the cleaning blocks of the recipe less strict")
        summary = f"kept {stage_io.amount(counts)} of {counts.read:,}; dropped {stage_io.reasons(counts)}"
        if counts.changes:
            summary += f"; {stage_io.in_words(counts.changes)}"
        return stage_io.result("clean", counts, summary)

    return stage_io.run(recipe, "clean", build)
