"""The settings of one dataset and the result of one stage: what the command line and the demo hand to the pipeline."""

import os
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe.errors import ConfigError

MIN_VOCAB_SIZE = 320
"""258 special and byte pieces leave room for at least an alphabet above this."""


@dataclass(frozen=True)
class DataRecipe:
    """All that shapes a dataset. Two recipes that are equal (but for `work` and `workers`) give equal bytes."""

    sources: tuple[Path, ...] = ()
    """Files or folders of JSONL, parquet or plain text; none means the documentation installed with Python."""
    out: Path = Path("datasets/installed")
    """The dataset's folder. It appears when it is whole."""
    work: Path = Path("work/installed")
    """Where the stages keep their results; may be deleted when the dataset is written."""
    vocab_size: int = 4096
    """Pieces of the tokenizer, with its 2 special and 256 byte pieces."""
    validation_share: float = 0.02
    """Share of the documents held out; raised for small corpora (split.py says how far)."""
    min_characters: int = 20
    """Documents with fewer characters, white space left out, are dropped; 1 keeps all but empty ones."""
    near_threshold: float = 0.8
    """Jaccard similarity of character shingles from which a document counts as a copy; 1.0 removes equal sets only."""
    seed: int = 1234
    """Chooses the held-out documents and the tokenizer's sample."""
    workers: int = 0
    """Processes; 0 takes the cores this process may use. It changes the time, never the result."""
    text_field: str = "text"
    """Column of JSONL and parquet sources that holds the text."""

    def __post_init__(self) -> None:
        rules = (
            ("vocab_size", self.vocab_size >= MIN_VOCAB_SIZE, f"at least {MIN_VOCAB_SIZE}"),
            ("validation_share", 0 < self.validation_share < 1, "between 0 and 1, both excluded; try 0.02"),
            ("min_characters", self.min_characters >= 1, "at least 1"),
            ("near_threshold", 0 < self.near_threshold <= 1, "above 0 and at most 1; try 0.8"),
            ("workers", self.workers >= 0, "0 (all cores) or more"),
        )
        for field, holds, rule in rules:
            if not holds:
                raise ConfigError(f"{field}={getattr(self, field)} must be {rule}")

    @property
    def num_workers(self) -> int:
        """Processes to run."""
        return self.workers or len(os.sched_getaffinity(0))


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
    cached: bool = False
    """True when an earlier run had done the stage with the same settings."""
