"""The stage that makes the tokenizer: trained on the training split, or an existing one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson

from data_prep import stage_io
from data_prep.plan import last_text_stage, plan
from data_prep.recipe import DataRecipe, StageResult
from data_prep.split import effective_share, is_held_out
from data_prep.stages import Stage, require
from data_prep.tokenizers.fast_encoder import Reference
from data_prep.tokenizers.load import load_reference
from data_prep.tokenizers.sentencepiece_tokenizer import GOLDEN_TEXTS
from data_prep.tokenizers.train import sample, train_bpe
from megatron_recipe import console
from megatron_recipe.errors import DataError

TOKENIZER_SAMPLE_CHARACTERS = 20_000_000


def train_tokenizer(recipe: DataRecipe) -> StageResult:
    """Train the tokenizer on a sample of the training split (held-out text must not shape it), or take a given one.

    Raises:
        DataError: the text is too little for the vocabulary, or the given file is no tokenizer.
    """
    given = recipe.tokenizer.file

    def build(folder: Path) -> StageResult:
        before = last_text_stage(plan(recipe))
        documents = require(before).documents_out
        if given:
            path = folder / f"tokenizer{given.suffix}"
            _refuse_if_lossy(load_reference(given))  # an error names the user's file, and not the copy
            shutil.copyfile(given, path)
            summary = f"took {given} with {load_reference(path).vocab_size:,} pieces"
        else:
            path = folder / "tokenizer.model"
            path.write_bytes(_train(recipe, before))
            summary = f"trained a SentencePiece BPE tokenizer of {load_reference(path).vocab_size:,} pieces"
        return StageResult("train_tokenizer", documents, documents, {}, path.stat().st_size, 0.0, summary)

    return stage_io.run(recipe, "train_tokenizer", build)


def _refuse_if_lossy(tokenizer: Reference) -> None:
    for text in GOLDEN_TEXTS:
        found = tokenizer.decode(tokenizer.encode(text))
        if found != text:
            raise DataError(
                f"{tokenizer.path}: the tokenizer changes text ({text[:40]!r} comes back as {found[:40]!r}), which the "
                "model could then never write; take one with byte pieces and without normalisation"
            )


def tokenizer_file(stage: Stage) -> Path:
    """The tokenizer that the finished stage holds."""
    return next(stage.folder.glob("tokenizer.*"))


def _train(recipe: DataRecipe, before: Stage) -> bytes:
    share = effective_share(recipe.dataset.validation_share, require(before).bytes_out)
    texts = training_texts(before.folder / "documents", share, recipe.seed)
    with console.progress("train tokenizer", None, "steps"):
        return train_bpe(sample(texts, TOKENIZER_SAMPLE_CHARACTERS, recipe.seed), recipe.tokenizer.vocab_size)


def training_texts(documents: Path, share: float, seed: int) -> Iterator[str]:
    """The texts of the documents that are not held out, in order."""
    for path in sorted(documents.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                record = orjson.loads(line)
                if not is_held_out(record["id"], share, seed):
                    yield record["text"]
