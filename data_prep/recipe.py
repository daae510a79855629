"""The settings of one dataset: what a YAML file, the command line and the demo hand to the pipeline."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from megatron_recipe.settings import RecipeFolder, Section, parse, put, split_override

MIN_VOCAB_SIZE = 320
MAX_VOCAB_SIZE = 1_000_000
"""258 special and byte pieces leave room for at least an alphabet above this."""
RECIPES = RecipeFolder(Path(__file__).parent / "recipes")


class Source(Section):
    """Text of one origin: a file, a folder of files, or what `megatron-recipe data download` fetched."""

    path: Path
    """JSONL or plain text (also .gz, .zst, .xz), parquet, or a folder of them."""
    name: str | None = None
    """Name in reports; by default that of the record, of the download, or of the file or folder."""
    category: str | None = None
    """Kind of text (web, code, encyclopedia, news, novels, …), by which mixes can be written; a download knows it."""
    license: str | None = None
    """Licence of records that name none; a download knows it."""
    text_field: str | None = None
    """Column or key that holds the text; by default that of the download, or ``text``."""


class DeduplicateSettings(Section):
    """Which copies are removed."""

    near_threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of character shingles from which a document is a copy; 1.0 removes equal sets only."""
    max_documents_with_passage: int = Field(default=10, ge=0)
    """A line or paragraph that more documents hold is boilerplate and stays in the first only; 0 keeps all."""


class EvaluationFiles(Section):
    """Evaluation items that no document may hold."""

    path: Path
    """JSONL, JSON, parquet, arrow or txt, or a folder of them, as `megatron-recipe eval download` fetches them."""
    fields: tuple[str, ...] = ()
    """The fields to look for; none takes all that hold text."""


class DecontaminateSettings(Section):
    """Which evaluation sets documents are compared with, by runs of 13 words or 20 Chinese characters."""

    against: tuple[EvaluationFiles, ...] = ()
    """The sets; none leaves the stage out."""
    min_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the 13-grams of an item's text from which a document that holds them is dropped; less is listed only."""

    @field_validator("against", mode="before")
    @classmethod
    def _paths_are_sets(cls, against: Any) -> Any:
        return _with_paths(against)


class TokenizerSettings(Section):
    """The tokenizer: an existing one, or one trained on the corpus."""

    file: Path | None = None
    """A SentencePiece ``.model`` or a ``tokenizer.json``; none trains a SentencePiece BPE tokenizer."""
    vocab_size: int = Field(default=4096, ge=MIN_VOCAB_SIZE, le=MAX_VOCAB_SIZE)
    """Pieces of a trained one, with its 2 special and 256 byte pieces: 4096 for a demo, 64000 for a 1B."""


class DatasetSettings(Section):
    """How the dataset is written."""

    validation_share: float = Field(default=0.02, gt=0, lt=1)
    """Share of the documents held out; raised for small corpora (split.py says how far)."""
    shuffle: bool = False
    """Write the training documents in random order instead of that of the sources. Megatron shuffles samples anyway;
    this is for readers that do not, and for cutting a part off the front."""


class ExecutorSettings(Section):
    """Which machines run the tasks. It changes the time, never a byte of the result."""

    kind: Literal["local", "slurm", "ray"] = "local"
    """Processes here, datatrove's Slurm executor, or its Ray executor; the latter two need a folder all nodes share."""
    workers: int = Field(default=0, ge=0)
    """Tasks at a time; 0 takes the cores this process may use (local), or sets no limit (slurm, ray)."""
    partition: str = "cpu"
    """Slurm's partition."""
    time: str = "12:00:00"
    """Slurm's time limit of a task."""
    cpus_per_task: int = Field(default=1, ge=1)
    """Cores of a Slurm or Ray task; more than one only to be given more memory."""
    memory_per_cpu_gb: int = Field(default=2, ge=1)
    """Memory of a core in a Slurm or Ray task."""
    sbatch: dict[str, str] = Field(default={})
    """More arguments for sbatch, for example {account: mine}."""
    address: str | None = None
    """Ray's cluster; none takes the one that RAY_ADDRESS names, or starts one here."""

    @property
    def num_workers(self) -> int:
        """Processes to run here."""
        return self.workers or len(os.sched_getaffinity(0))


class DataRecipe(Section):
    """All that shapes a dataset. Two recipes that are equal (but for `work` and `executor`) give equal bytes."""

    sources: tuple[Source, ...] = ()
    """What to read; none means the documentation installed with Python."""
    out: Path = Path("datasets/mine")
    """The dataset's folder. It appears when it is whole."""
    work: Path
    """Where the stages keep their results, by default work/NAME beside `out`'s folder; may be deleted afterwards."""
    max_bad_lines: int = Field(default=0, ge=0)
    """JSONL lines that are no valid record, dropped and counted up to this many; more end the run."""
    clean: tuple[dict[str, dict[str, Any]], ...]
    """The cleaning blocks in their order, each a name (data_prep/clean/catalog.py) and its settings."""
    deduplicate: DeduplicateSettings = DeduplicateSettings()
    decontaminate: DecontaminateSettings = DecontaminateSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    dataset: DatasetSettings = DatasetSettings()
    seed: int = 1234
    """Chooses the held-out documents, the tokenizer's sample, and the order of a shuffle."""
    executor: ExecutorSettings = ExecutorSettings()

    @model_validator(mode="before")
    @classmethod
    def _default_work(cls, values: dict[str, Any]) -> dict[str, Any]:
        out = Path(values.get("out") or cls.model_fields["out"].default)
        return values if values.get("work") else {**values, "work": out.absolute().parent.parent / "work" / out.name}

    @field_validator("sources", mode="before")
    @classmethod
    def _paths_are_sources(cls, sources: Any) -> Any:
        return _with_paths(sources)

    @field_validator("clean", mode="before")
    @classmethod
    def _names_are_blocks(cls, blocks: Any) -> Any:
        if not isinstance(blocks, list | tuple):
            return blocks
        return tuple(_block(block) for block in blocks)


def _with_paths(values: Any) -> Any:
    """In a list a path alone means a section with that path."""
    if not isinstance(values, list | tuple):
        return values
    return tuple({"path": value} if isinstance(value, str | Path) else value for value in values)


def _block(block: Any) -> Any:
    """``tidy`` and ``tidy:`` (YAML reads it as {tidy: None}) mean a block without settings."""
    if isinstance(block, str):
        return {block: {}}
    return {name: values or {} for name, values in block.items()} if isinstance(block, dict) else block


def load_recipe(
    recipe: str = "documents", values: Mapping[str, Any] | None = None, overrides: tuple[str, ...] = ()
) -> DataRecipe:
    """Resolve a recipe's name or YAML file, then `values`, then the `section.field=value` overrides.

    Args:
        values: by dotted names, like ``{"tokenizer.vocab_size": 700}``; None leaves the recipe's value.

    Raises:
        ConfigError: an unknown recipe or key, a value of the wrong type or out of range.
    """
    resolved = RECIPES.read(recipe)
    for name, value in (values or {}).items():
        if value is not None:
            put(resolved, name.split("."), value)
    for override in overrides:
        put(resolved, *split_override(override, "deduplicate.near_threshold=0.9"))
    return parse(DataRecipe, resolved, recipe)


@dataclass(frozen=True)
class StageResult:
    """What one stage did. documents_in == documents_out + sum(dropped.values()), always."""

    name: str
    documents_in: int
    documents_out: int
    dropped: dict[str, int]
    """Documents by the reason they were dropped for."""
    bytes_out: int
    """UTF-8 bytes of text for the text stages, bytes on disk for the tokenizer and the dataset."""
    seconds: float
    summary: str
    """One line for the user."""
    changes: dict[str, int] = field(default_factory=dict)
    """What was changed in documents that stayed: `masked_email`, `passages_removed`, `passage_bytes_removed`, …"""
    cached: bool = False
    """True when an earlier run had done the stage with the same settings."""
