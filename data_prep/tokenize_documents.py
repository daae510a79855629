"""The block that turns documents into tokens: per task one .bin/.idx pair for each split, and the held-out text."""

from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import orjson
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from data_prep.megatron_writer import MegatronWriter
from data_prep.split import held_out
from data_prep.tokenizers.fast_encoder import FastEncoder, load_encoder

SPLITS = ("train", "validation")
BATCH_CHARACTERS = 1_000_000
SOURCE_FIELDS = ("source", "category", "license", "language")
"""Metadata by which the manifest counts documents; `source` is called `name` there."""


class TokenizeDocuments(PipelineStep):
    """Write ``RANK.train.bin/.idx``, ``RANK.validation.bin/.idx`` and ``RANK.validation.jsonl``; documents pass on.

    Documents that give no token (none should be left) are dropped as `no_tokens`. Each document's split is in its
    metadata afterwards.

    Args:
        tokenizer: a SentencePiece ``.model`` or a ``tokenizer.json``; loaded by each process that uses it, once.
        folder: where the parts are written.
        share: share of the documents held out.
        seed: chooses which.
    """

    type = "🔢 - TOKENIZER"
    name = "🔢 Megatron parts"

    def __init__(self, tokenizer: Path, folder: Path, share: float, seed: int) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.folder = folder
        self.share = share
        self.seed = seed

    @cached_property
    def encoder(self) -> FastEncoder:
        """The loaded tokenizer."""
        return load_encoder(self.tokenizer)

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        encoder = self.encoder
        writers = {s: MegatronWriter(part(self.folder, rank, s), encoder.vocab_size, encoder.eod_id) for s in SPLITS}
        text_path = part(self.folder, rank, "validation").with_suffix(".jsonl")
        with writers["train"], writers["validation"], text_path.open("wb") as held_out_text:
            batch: list[Document] = []
            characters = 0
            for document in data or ():
                batch.append(document)
                characters += len(document.text)
                if characters >= BATCH_CHARACTERS:
                    yield from self._write(batch, encoder, writers, held_out_text)
                    batch, characters = [], 0
            yield from self._write(batch, encoder, writers, held_out_text)

    def _write(
        self,
        documents: list[Document],
        encoder: FastEncoder,
        writers: dict[str, MegatronWriter],
        held_out_text: IO[bytes],
    ) -> DocumentsPipeline:
        with self.track_time("batch"):
            batch = encoder.encode([document.text for document in documents])
        in_validation = held_out([document.id for document in documents], self.share, self.seed)
        for split, name in enumerate(SPLITS):
            chosen = (in_validation == split) & (batch.lengths > 0)
            writers[name].add_batch(batch.ids[np.repeat(chosen, batch.lengths)], batch.lengths[chosen])
        for document, length, split in zip(documents, batch.lengths.tolist(), in_validation.tolist(), strict=True):
            if not length:
                self.stat_update("dropped_no_tokens")
                continue
            if split:
                held_out_text.write(_line(document))
            document.metadata["split"] = SPLITS[split]
            yield document


class SplitCounter(PipelineStep):
    """Count documents, bytes and characters of each split and of each source, in ``RANK.counts.json``."""

    type = "🧮 - COUNT"
    name = "splits and sources"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        splits = {split: {"documents": 0, "bytes": 0, "characters": 0} for split in SPLITS}
        sources: dict[tuple[str, ...], dict[str, int]] = {}
        for document in data or ():
            key = tuple(str(document.metadata.get(k, "unknown")) for k in SOURCE_FIELDS)
            source = sources.setdefault(key, {"documents": 0, "bytes": 0})
            num_bytes = len(document.text.encode())
            for counts in (splits[document.metadata["split"]], source):
                counts["documents"] += 1
                counts["bytes"] += num_bytes
            splits[document.metadata["split"]]["characters"] += len(document.text)
            yield document
        names = ("name", *SOURCE_FIELDS[1:])
        listed = [dict(zip(names, key, strict=True)) | counts for key, counts in sources.items()]
        (self.folder / f"{rank:05d}.counts.json").write_bytes(orjson.dumps({"splits": splits, "sources": listed}))


def part(folder: Path, rank: int, split: str) -> Path:
    """Path of one part of a split; with_suffix gives its files."""
    return folder / f"{rank:05d}_{split}"


def _line(document: Document) -> bytes:
    record = {"text": document.text, "id": document.id, "metadata": document.metadata}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
