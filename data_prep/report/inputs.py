"""What the report is of: a dataset with its work folder, a work folder, or raw text files."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document

from data_prep.dedup.shingles import normalised
from data_prep.manifest import NAME as MANIFEST
from data_prep.manifest import read_manifest
from data_prep.recipe import Source
from data_prep.report.estimates import Z_95, Estimate, exactly
from data_prep.report.sampling import Population, Text, shards
from data_prep.report.stage_files import FinishedStage, is_work_folder, read_stages
from data_prep.sources.bad_lines import FIELD as BAD_LINE
from data_prep.sources.local import LocalFile, LocalText, find_files
from data_prep.stages import TEXT_STAGES
from megatron_recipe.console import warn
from megatron_recipe.errors import ConfigError, DataError

MAX_HASHES = 1 << 20


@dataclass(frozen=True)
class Corpus:
    """The input of a report: `stages` and `manifest` are empty for raw text."""

    name: str
    kind: str
    """``dataset``, ``work`` or ``files``."""
    stages: dict[str, FinishedStage]
    manifest: dict[str, Any] | None
    populations: tuple[Population, ...]
    """Before and after the stages; one only where nothing lies between."""
    tokenizer: Path | None


def find_corpus(paths: list[Path], work: Path | None) -> Corpus:
    """Find out what the paths are.

    Raises:
        ConfigError: a dataset or work folder is not the only path.
        DataError: a path does not exist or cannot be read.
    """
    prepared = [path for path in paths if (path / MANIFEST).is_file() or is_work_folder(path)]
    if not prepared and not work:
        return _raw(paths)
    if len(paths) != 1 or not prepared:
        raise ConfigError(
            f"{', '.join(map(str, prepared)) or '--work'}: a dataset or work folder is reported on alone; "
            "give it as the only PATH, and raw text in another report"
        )
    path = paths[0]
    if (path / MANIFEST).is_file():
        folder = work or path.absolute().parent.parent / "work" / path.absolute().name
        stages = read_stages(folder)
        if not stages:
            warn(f"{folder}: no finished stage of {path}, so that there is little to report; give its --work folder")
        return _prepared(path.absolute().name, "dataset", stages, path)
    stages = read_stages(path)
    return _prepared(path.absolute().name, "work", stages, _dataset_of(stages))


def _dataset_of(stages: dict[str, FinishedStage]) -> Path | None:
    """The dataset that the last stage of a work folder wrote, if it is still there."""
    out = stages["write_dataset"].settings.get("out") if "write_dataset" in stages else None
    return Path(out) if out and (Path(out) / MANIFEST).is_file() else None


def _prepared(name: str, kind: str, stages: dict[str, FinishedStage], dataset: Path | None) -> Corpus:
    text = [stages[stage] for stage in TEXT_STAGES if stage in stages]
    chosen = {"before": text[0], "after": text[-1]} if len(text) > 1 else {"after": text[0]} if text else {}
    populations = tuple(
        shards(place, stage.folder / "documents", stage.result["documents_out"], stage.result["bytes_out"])
        for place, stage in chosen.items()
    )
    manifest = read_manifest(dataset) if dataset else None
    file = dataset / manifest["tokenizer"]["file"] if dataset and manifest else None
    return Corpus(name, kind, stages, manifest, populations, file if file and file.is_file() else None)


def _raw(paths: list[Path]) -> Corpus:
    if not paths:
        raise ConfigError("give a dataset, a work folder or text files to report on")
    files = find_files(tuple(Source(path=path) for path in paths))
    reader = LocalText(files)

    def read(file: LocalFile) -> Iterator[Document]:
        for document in reader.read_file(file):
            if BAD_LINE in document.metadata:
                raise DataError(f"{document.metadata[BAD_LINE]}; mend it, or let `data prepare` drop it: max_bad_lines")
            yield document

    def parse(document: Document, place: str) -> Text:
        return Text(document.id, document.text, document.metadata)

    name = paths[0].name.partition(".")[0] if len(paths) == 1 else ", ".join(path.name for path in paths)
    population = Population("before", tuple(files), read, parse, name_of=lambda file: file.path.name)
    return Corpus(name[:120] or str(paths[0]), "files", {}, None, (population,), None)


class ExactCopies:
    """Counts the bytes of a stream, and its copies: all while a million texts are held, then those of a random part.

    A text is held if its hash ends in `level` zero bits, so all copies of one are held or none (Wegman's adaptive
    sampling, Flajolet 1990). Memory: under 100 MB. Texts are equal as in data_prep/dedup/exact.py.
    """

    def __init__(self, max_hashes: int = MAX_HASHES) -> None:
        self.max_hashes = max_hashes
        self.level = 0
        self.counts: dict[int, int] = {}
        self.bytes = 0

    def see(self, document: Document) -> None:
        """Count one document."""
        self.bytes += len(document.text.encode("utf-8", "surrogatepass"))
        text = normalised(document.text).encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
        if number & ((1 << self.level) - 1):
            return
        self.counts[number] = self.counts.get(number, 0) + 1
        while len(self.counts) > self.max_hashes:
            self.level += 1
            mask = (1 << self.level) - 1
            self.counts = {one: count for one, count in self.counts.items() if not one & mask}

    def rate(self) -> Estimate:
        """Share of the documents that are copies of one before them."""
        counts = np.fromiter(self.counts.values(), dtype=float, count=len(self.counts))
        held = float(counts.sum())
        if not held:
            return exactly(0.0) | {"count": 0, "of": 0}
        value = 1 - len(counts) / held
        counted = {"count": int(held) - len(counts), "of": int(held)}
        if self.level == 0:
            return exactly(value) | counted
        residuals = (counts - 1) - value * counts  # a ratio estimator over texts, each a cluster of its copies
        half = Z_95 * float(residuals.std(ddof=1)) * len(counts) ** 0.5 / held
        interval = {"low": max(value - half, 0.0), "high": min(value + half, 1.0), "exact": False}
        return {"value": value, **interval, **counted}
