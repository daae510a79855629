"""A dataset that grows shard by shard, so that a disk holds its tokens once and never all of its text.

Beside the files a journal has one line a shard: how long each file was after it. A run that was killed cuts the files
back to the last line and goes on with the next shard.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from data_prep.manifest import write_manifest
from data_prep.manifest_content import describe_dataset, read_counts, settings_of, sum_counts
from data_prep.megatron_writer import dtype_for, read_index, write_index
from data_prep.recipe import DataRecipe, StageResult
from data_prep.tokenize_documents import SPLITS, part
from data_prep.tokenizers.fast_encoder import Reference
from megatron_recipe.files import atomic_file, full_disk_is_an_error, read_jsonl

LENGTHS = "lengths"
OVERLAPS = "contaminated.jsonl"
FILES = (*(f"{split}.{suffix}" for split in SPLITS for suffix in ("bin", LENGTHS)), "validation.jsonl", OVERLAPS)
"""``SPLIT.lengths`` holds int32 tokens of each document; it becomes the .idx in the end."""


class GrowingDataset:
    """Appends shards and becomes a dataset.

    Args:
        folder: of its files, on the file system of the dataset to be; continued if there is one.
        tokenizer: whose ids it holds.
    """

    def __init__(self, folder: Path, tokenizer: Reference) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = folder / "journal.jsonl"
        self.journal.touch()
        self.shards: list[dict[str, Any]] = read_jsonl(self.journal)
        self._cut_back()

    @property
    def names(self) -> set[str]:
        """Shards that are in the dataset."""
        return {shard["name"] for shard in self.shards}

    @property
    def tokens(self) -> int:
        """Tokens of the training split, with end-of-documents."""
        return self._sizes().get("train.bin", 0) // dtype_for(self.tokenizer.vocab_size).itemsize

    def append(self, name: str, parts: Path, rank: int, result: StageResult) -> None:
        """Add one task's parts (tokenize_documents.part) as the shard `name`; they may be deleted afterwards.

        Args:
            parts: also has the task's ``RANK.counts.json``, and ``RANK.jsonl`` if it was compared with evaluation sets.
            result: documents that the shard read, kept and dropped.
        """
        with full_disk_is_an_error(self.folder):
            for split in SPLITS:
                prefix = part(parts, rank, split)
                self._append(f"{split}.bin", prefix.with_suffix(".bin"))
                with self._open(f"{split}.{LENGTHS}") as file:
                    file.write(read_index(prefix.with_suffix(".idx")).lengths.tobytes())
            self._append("validation.jsonl", part(parts, rank, "validation").with_suffix(".jsonl"))
            if (overlaps := parts / f"{rank:05d}.jsonl").exists():
                self._append(OVERLAPS, overlaps)
            shard = {
                "name": name,
                "sizes": {file: (self.folder / file).stat().st_size for file in FILES},
                "read": result.documents_in,
                "kept": result.documents_out,
                "dropped": result.dropped,
                "counts": read_counts(parts / f"{rank:05d}.counts.json"),
            }
            with self._open(self.journal.name) as file:
                file.write(orjson.dumps(shard, option=orjson.OPT_APPEND_NEWLINE))
        self.shards.append(shard)

    def finish(self, recipe: DataRecipe, fingerprint: str) -> StageResult:
        """Write the indexes and the manifest, and rename the folder to `recipe.out`.

        Raises:
            DataError: a split has no document.
        """
        result = self._result()
        splits, sources = sum_counts(shard["counts"] for shard in self.shards)
        folder = self.folder
        for split in SPLITS:
            lengths = np.fromfile(folder / f"{split}.{LENGTHS}", dtype=np.int32)
            write_index(folder / f"{split}.idx", lengths, dtype_for(self.tokenizer.vocab_size))
        (folder / "tokenizer").mkdir(exist_ok=True)
        shutil.copyfile(self.tokenizer.path, folder / "tokenizer" / self.tokenizer.path.name)
        content = describe_dataset(folder, splits, sources, self.tokenizer, [result])
        write_manifest(folder, {**content, "settings": settings_of(recipe, fingerprint)})
        shutil.rmtree(recipe.out, ignore_errors=True)
        folder.rename(recipe.out)  # before the journal goes, without which a restart would begin anew
        for name in (*(f"{split}.{LENGTHS}" for split in SPLITS), self.journal.name, "begun.json"):
            (recipe.out / name).unlink()
        return result

    def _result(self) -> StageResult:
        dropped: dict[str, int] = {}
        for shard in self.shards:
            for reason, count in shard["dropped"].items():
                dropped[reason] = dropped.get(reason, 0) + count
        read, kept = (sum(shard[name] for shard in self.shards) for name in ("read", "kept"))
        num_bytes = sum(self._sizes().values())
        return StageResult("stream", read, kept, dropped, num_bytes, 0.0, f"{len(self.shards):,} shards")

    def _sizes(self) -> dict[str, int]:
        return self.shards[-1]["sizes"] if self.shards else {}

    def _cut_back(self) -> None:
        """Forget what was written after the last whole shard."""
        sizes = self._sizes()
        for name in FILES:
            path = self.folder / name
            path.touch()
            os.truncate(path, sizes.get(name, 0))
        with atomic_file(self.journal, "wb") as file:
            file.writelines(orjson.dumps(shard, option=orjson.OPT_APPEND_NEWLINE) for shard in self.shards)

    def _open(self, name: str) -> Any:
        return _Durable(self.folder / name)

    def _append(self, name: str, part_file: Path) -> None:
        with self._open(name) as whole, part_file.open("rb") as file:
            shutil.copyfileobj(file, whole, 1 << 20)


class _Durable:
    """A file opened for appending that is on the disk when the block ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        self.file = self.path.open("ab")
        return self.file

    def __exit__(self, *error: object) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
