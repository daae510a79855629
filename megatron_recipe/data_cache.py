"""The command `data cache`: builds all index files that a run will read, on one CPU, before GPUs are paid for."""

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe.batch_schedule import total_samples
from megatron_recipe.config import Config
from megatron_recipe.console import say
from megatron_recipe.corpus import Corpus
from megatron_recipe.data import INDEX_CACHE, open_corpus
from megatron_recipe.errors import MachineError
from megatron_recipe.mix import corpus_paths, mix_of
from megatron_recipe.sample_order import advance


@dataclass(frozen=True)
class Need:
    """What a run reads of a split: its first `samples` samples."""

    corpus: Corpus
    samples: int

    @property
    def missing(self) -> list[int]:
        """Epochs whose index is not there yet."""
        names = {epoch: self.corpus.index_name(epoch).folder for epoch in self.epochs}
        return [epoch for epoch, name in names.items() if not (self.corpus.caches[0] / name).is_dir()]

    @property
    def epochs(self) -> range:
        """Epochs that the samples lie in."""
        return self.corpus.epochs_of(0, self.samples)


def cache_command(config: Config, dry_run: bool) -> None:
    """Build what is missing beside each dataset, a line each; a dry run says what it would build.

    Raises:
        DataError: a dataset is missing or damaged.
        MachineError: a dataset's folder cannot be written to, or its disk is full.
    """
    for need in needs(config):
        name = f"{need.corpus.facts.folder} {need.corpus.split}: {need.corpus.samples_per_epoch:,} samples an epoch"
        missing = need.missing
        found = len(need.epochs) - len(missing)
        if dry_run:
            say(f"{name}; would build {len(missing)} of {len(need.epochs)} epochs, {found} are there")
            continue
        began = time.monotonic()
        _build(need)
        say(f"{name}; built {len(missing)} epochs in {time.monotonic() - began:.1f} s, found {found}")


def needs(config: Config) -> Iterator[Need]:
    """What `train` with this configuration reads: the mix to its last step, and the validation sets."""
    mix = mix_of(config)
    end = advance(0, total_samples(config), config.data.skip_samples)
    for path, samples in zip(corpus_paths(config), mix.drawn(end), strict=True):
        yield Need(_open(path, "train", config), samples)
    if config.train.validation_samples:
        mixed = [dataset.path for dataset in config.data.datasets]
        named = [held_out.path for held_out in config.data.validation_sets]
        for path in dict.fromkeys([*mixed, *named]):
            yield Need(_open(path, "validation", config), 1)  # a validation never goes beyond the first epoch


def _open(folder: str, split: str, config: Config) -> Corpus:
    return open_corpus(folder, split, config, Path(folder) / INDEX_CACHE)


def _build(need: Need) -> None:
    try:
        need.corpus.prepare(0, need.samples)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        raise MachineError(
            f"{need.corpus.facts.folder}: cannot be written to ({error.strerror}); copy the dataset to a disk of your "
            "own, or start the run as it is: it then builds these files in its run folder, while the GPUs wait"
        ) from error
