"""Stage 3: remove exact and near duplicates, and passages that many documents share.

``removed.jsonl.zst`` says which document each removed one was a copy of, ``passages.jsonl.zst`` which passages went.
"""

from pathlib import Path

from datatrove.pipeline.base import PipelineStep

from data_prep import stage_io
from data_prep.dedup.corpus import Corpus
from data_prep.dedup.exact import ExactSignatures, find_exact_duplicates
from data_prep.dedup.near import MinHashBands, banding_for, find_near_duplicates
from data_prep.dedup.passage_removal import RemovePassages, list_repeated_passages
from data_prep.dedup.passages import PassageHashes, find_repeated_passages
from data_prep.dedup.removal import Removals, RemoveDuplicates, gather
from data_prep.executor import Counts
from data_prep.plan import plan
from data_prep.recipe import DataRecipe, StageResult
from data_prep.stages import SCRATCH, Stage
from megatron_recipe import console


def deduplicate(recipe: DataRecipe) -> StageResult:
    """Remove copies of documents that are kept, then the passages that more documents share than the recipe allows.

    Signatures and removals are tasks for all workers; the decisions between them are one process here, since each
    removal depends on those before it.
    """

    def build(folder: Path) -> StageResult:
        before = plan(recipe)["clean"]
        if recipe.deduplicate.max_documents_with_passage:
            unique = folder / SCRATCH / "unique"
            hashes = _scratch(folder, "passage_hashes")
            counts = _remove_documents(before, [PassageHashes(hashes), stage_io.writer(unique)], folder, recipe)
            counts = counts.then(_remove_passages(unique, counts.kept, hashes, folder, recipe))
        else:
            counts = _remove_documents(before, [stage_io.writer(folder / "documents")], folder, recipe)
        summary = f"kept {stage_io.amount(counts)} of {counts.read:,}; removed {stage_io.reasons(counts)}"
        if counts.changes:
            summary += f"; {stage_io.in_words(counts.changes)}"
        return stage_io.result("deduplicate", counts, summary)

    return stage_io.run(recipe, "deduplicate", build)


def _remove_documents(before: Stage, then: list[PipelineStep], folder: Path, recipe: DataRecipe) -> Counts:
    threshold = recipe.deduplicate.near_threshold
    documents = before.folder / "documents"
    exact, bands, decisions, removed = (_scratch(folder, n) for n in ("exact", "bands", "decisions", "removed"))
    signatures = [ExactSignatures(exact), MinHashBands(bands, banding_for(threshold))]
    stage_io.run_on(before, "signatures", signatures, folder, recipe)
    _decide(documents, exact, bands, threshold, decisions)
    removal = [RemoveDuplicates(documents, decisions, removed), *then]
    counts = stage_io.run_on(before, "remove duplicates", removal, folder, recipe)
    gather(removed, folder / "removed.jsonl.zst")
    return counts


def _remove_passages(unique: Path, total: int, hashes: Path, folder: Path, recipe: DataRecipe) -> Counts:
    decisions, counted = (_scratch(folder, n) for n in ("passage_decisions", "passage_counts"))
    find_repeated_passages(hashes, decisions, recipe.deduplicate.max_documents_with_passage)
    stage_io.touch_shards(unique, stage_io.num_shards(folder / "documents"))
    removal = RemovePassages(decisions, counted)
    stage_io.keep_dropped([removal], folder / "dropped")
    blocks = [removal, stage_io.writer(folder / "documents")]
    counts = stage_io.run_over(unique, total, "remove passages", blocks, folder, recipe)
    list_repeated_passages(unique, decisions, counted, folder / "passages.jsonl.zst")
    return counts


def _scratch(folder: Path, name: str) -> Path:
    path = folder / SCRATCH / name
    path.mkdir(parents=True, exist_ok=True)
    return path


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
