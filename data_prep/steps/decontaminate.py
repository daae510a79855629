"""Stage 4, for recipes that name evaluation sets: drop the documents that hold their items."""

from pathlib import Path

from data_prep import stage_io
from data_prep.decontaminate.decontaminate import Decontaminate
from data_prep.decontaminate.index import EvaluationSet, SetSummary, build_index
from data_prep.dedup.removal import gather
from data_prep.plan import plan
from data_prep.recipe import DataRecipe, StageResult
from data_prep.stages import SCRATCH
from megatron_recipe import console


def decontaminate(recipe: DataRecipe) -> StageResult:
    """Drop contaminated documents; ``contaminated.jsonl.zst`` lists every overlap, ``evaluation_sets.json`` the sets.

    Raises:
        DataError: an evaluation set cannot be read.
    """

    def build(folder: Path) -> StageResult:
        before = plan(recipe)["deduplicate"]
        index, listing = folder / SCRATCH / "index", folder / SCRATCH / "overlaps"
        listing.mkdir(parents=True, exist_ok=True)
        settings = recipe.decontaminate
        sets = build_index([EvaluationSet(given.path, given.fields) for given in settings.against], index)
        _say_what_cannot_be_found(sets)
        block = Decontaminate(index, listing, settings.min_share)
        stage_io.keep_dropped([block], folder / "dropped")
        blocks = [block, stage_io.writer(folder / "documents")]
        counts = stage_io.run_on(before, "decontaminate", blocks, folder, recipe)
        stage_io.require_some(counts, recipe, "decontaminate", "see contaminated.jsonl.zst for the items they hold")
        gather(listing, folder / "contaminated.jsonl.zst")
        (index / "sets.json").replace(folder / "evaluation_sets.json")
        items = sum(one.items for one in sets)
        summary = (
            f"kept {stage_io.amount(counts)} of {counts.read:,}; dropped {stage_io.reasons(counts)}, compared with "
            f"{items:,} items of {len(sets):,} evaluation sets"
        )
        return stage_io.result("decontaminate", counts, summary)

    return stage_io.run(recipe, "decontaminate", build)


def _say_what_cannot_be_found(sets: list[SetSummary]) -> None:
    short, items = sum(one.short_items for one in sets), sum(one.items for one in sets)
    if short:
        console.say(
            f"{short:,} of {items:,} evaluation items cannot be found (under 8 words or 13 Chinese characters, or "
            "their set's template); evaluation_sets.json says of which sets"
        )
