"""Stage 3: remove exact and near duplicates; removed.jsonl.zst says which document each was a copy of."""

from pathlib import Path

from data_prep import stage_io
from data_prep.dedup.corpus import Corpus
from data_prep.dedup.exact import ExactSignatures, find_exact_duplicates
from data_prep.dedup.near import MinHashBands, banding_for, find_near_duplicates
from data_prep.dedup.removal import Removals, RemoveDuplicates, gather
from data_prep.plan import plan
from data_prep.recipe import DataRecipe, StageResult
from data_prep.stages import SCRATCH
from megatron_recipe import console


def deduplicate(recipe: DataRecipe) -> StageResult:
    """Remove copies of documents that are kept.

    The signatures and the removal are tasks for all workers; the decision between them is one process here, since each
    removal depends on those before it.
    """

    def build(folder: Path) -> StageResult:
        before = plan(recipe)["clean"]
        threshold = recipe.deduplicate.near_threshold
        documents = before.folder / "documents"
        exact, bands, decisions, removed = (folder / SCRATCH / n for n in ("exact", "bands", "decisions", "removed"))
        for needed in (exact, bands, decisions, removed):
            needed.mkdir(parents=True, exist_ok=True)
        signatures = [stage_io.reader(before), ExactSignatures(exact), MinHashBands(bands, banding_for(threshold))]
        stage_io.run_on(before, "signatures", signatures, folder, recipe)
        _decide(documents, exact, bands, threshold, decisions)
        removal = [
            stage_io.reader(before),
            RemoveDuplicates(documents, decisions, removed),
            stage_io.writer(folder / "documents"),
        ]
        counts = stage_io.run_on(before, "remove duplicates", removal, folder, recipe)
        gather(removed, folder / "removed.jsonl.zst")
        summary = f"kept {stage_io.amount(counts)} of {counts.read:,}; removed {stage_io.reasons(counts)}"
        return stage_io.result("deduplicate", counts, summary)

    return stage_io.run(recipe, "deduplicate", build)


def _decide(documents: Path, exact: Path, bands: Path, threshold: float, decisions: Path) -> None:
    """Find the duplicates, exact ones first: they are cheap, and near ones are then compared once."""
    corpus = Corpus(documents)
    removals = Removals.none(len(corpus))
    find_exact_duplicates(exact, removals)
    with console.progress("near duplicates", None, "pairs") as advance:
        for pairs in find_near_duplicates(bands, corpus, threshold, removals):
            advance(pairs)
    removals.follow()
    removals.save(decisions)
    corpus.save_index(decisions)
    corpus.close()
