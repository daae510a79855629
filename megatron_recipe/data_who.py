"""The command `data who`: which documents a step of a run was trained on."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.manifest import read_manifest
from data_prep.tokenizers.load import load_reference
from megatron_recipe.batch_schedule import batch_size_at, samples_before
from megatron_recipe.budget import is_clocked
from megatron_recipe.config import BatchConfig, SampleRange
from megatron_recipe.corpus import Corpus
from megatron_recipe.data import INDEX_CACHE, TrainingData, build_mix
from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config
from megatron_recipe.sample_order import advance, next_positions
from megatron_recipe.skips import Skips

SHOWN_TOKENS = 64
SHOWN_CHARACTERS = 90


@dataclass(frozen=True)
class DocumentSeen:
    """The part of a document that stands in a sample."""

    document: int
    """Its number in the .idx file, from 0."""
    first_token: int
    stop_token: int
    """One behind the last; the end-of-document token counts, and so does the last label of the sample."""
    text: str
    """The beginning of the part."""


@dataclass(frozen=True)
class SampleSeen:
    """A sample of a batch, and where it is from."""

    position: int
    """In the data's order: what `--skip-samples` takes."""
    dataset: str
    epoch: int
    """Passes over the dataset before this one."""
    sample: int
    """Place in the epoch's shuffled order."""
    documents: list[DocumentSeen]


def who_command(run_dir: Path, step: int, samples: int, as_json: bool) -> None:
    """Print the samples of `step` (1 is the first), the first `samples` of them or all with 0.

    Raises:
        ConfigError: `run_dir` holds no run, or `step` is none.
        DataError: a dataset is no longer where the run found it.
    """
    config_file = run_dir / "config.yaml"
    if not config_file.is_file():
        raise ConfigError(f"{run_dir}: not a run folder (no config.yaml); give the folder that `train --run-dir` named")
    if step < 1:
        raise ConfigError(f"--step {step}: steps count from 1, as in metrics.jsonl; give 1 or more")
    config = load_config(str(config_file))
    positions = positions_of(config.batch, step, Skips(run_dir).ranges)
    if not is_clocked(config.budget) and step > config.train.steps:
        raise ConfigError(f"--step {step}: the run has {config.train.steps:,} steps; give one of them")
    data = build_mix(config, run_dir / INDEX_CACHE)
    shown = [sample_at(data, position) for position in (positions[:samples] if samples else positions)]
    if as_json:
        whole = {"step": step, "positions": positions, "samples": [asdict(sample) for sample in shown]}
        print(json.dumps(whole, ensure_ascii=False, indent=1))
        return
    for line in lines(step, positions, shown):
        print(line)


def positions_of(batch: BatchConfig, step: int, skips: list[SampleRange]) -> list[int]:
    """Positions that `step` (1 is the first) took in the end.

    A rollback's skip begins where the run went on again, and a user's behind what was trained on: no skip covers a
    position of a step before it, so all may be counted from the first step on.
    """
    position = advance(0, samples_before(batch, step - 1), skips)
    return next_positions(position, batch_size_at(batch, step - 1), skips)


def sample_at(data: TrainingData, position: int) -> SampleSeen:
    """What stands at a position."""
    number, place = data.mix.locate(position)
    corpus = data.corpora[number]
    epoch, sample = divmod(place, corpus.samples_per_epoch)
    documents = [
        DocumentSeen(part.document, part.first, part.stop, _text(corpus, part.document, part.first, part.stop))
        for part in corpus.parts(place)
    ]
    return SampleSeen(position, str(corpus.facts.folder), epoch, sample, documents)


def _text(corpus: Corpus, document: int, first: int, stop: int) -> str:
    """The beginning of a part, decoded without its end-of-document token."""
    ids = corpus.indexed.get(document, offset=first, length=min(stop - first, SHOWN_TOKENS))
    return _tokenizer(corpus.facts.folder).decode(ids[ids != corpus.facts.eod_id])


@cache
def _tokenizer(folder: Path) -> Any:
    return load_reference(folder / read_manifest(folder)["tokenizer"]["file"])


def lines(step: int, positions: list[int], shown: list[SampleSeen]) -> Iterator[str]:
    """The table that a user reads."""
    yield f"step {step}: {len(positions)} samples, positions {positions[0]:,} to {positions[-1]:,}"
    if positions[-1] - positions[0] >= len(positions):
        yield "some positions between them were left out (skips.json)"
    for sample in shown:
        yield f"{sample.position:,}  {sample.dataset}, epoch {sample.epoch}, sample {sample.sample:,}"
        for seen in sample.documents:
            text = " ".join(seen.text.split())
            ellipsis = "…" if len(text) > SHOWN_CHARACTERS or seen.stop_token - seen.first_token > SHOWN_TOKENS else ""
            tokens = f"tokens {seen.first_token:,}-{seen.stop_token - 1:,}"
            yield f"    document {seen.document:,}, {tokens}: {text[:SHOWN_CHARACTERS]}{ellipsis}"
    if len(shown) < len(positions):
        yield f"… and {len(positions) - len(shown)} more samples; --samples 0 shows all"
