"""Accidents of the data: a stretch of broken text, tokens of another tokenizer, text that nobody shuffled.

Each makes a dataset of its own beside the run, of the run's own datasets, and leaves those as they are.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from megatron_recipe.config import Config
from megatron_recipe.files import atomic_folder
from megatron_recipe.lab.incident_changes import Change

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DATASETS, PHASES = "data.datasets", "data.phases"
SPLITS = ("train", "validation")


class BadStretch(Change):
    """Some steps read broken text: tokens drawn at random, or one token again and again."""

    kind: Literal["bad_stretch"] = "bad_stretch"
    """Which kind, in the file."""
    after: float = Field(default=0.6, gt=0, lt=1)
    """Share of the run that comes before it."""
    steps: int = Field(default=3, gt=0)
    """Steps that read it."""
    text: Literal["random", "one_token"] = "random"
    """`one_token`: like a page of dashes, each of whose tokens pulls the weights the same way."""

    def prepare(self, config: Config, folder: Path, control: Path) -> dict[str, Any]:
        """Write the broken text, and have the mix turn to it and back."""
        broken = folder / "broken"
        if not broken.is_dir():
            _write_noise(Path(config.data.datasets[0].path), broken, self, config)
        first = max(1, round(self.after * config.train.steps))
        healthy = [entry.model_dump(mode="json") for entry in config.data.datasets]
        return {
            PHASES: [
                {"from_step": first, "datasets": [{"path": str(broken)}]},
                {"from_step": first + self.steps, "datasets": healthy},
            ]
        }


class TrainedWeights(Change):
    """The run begins with the weights of the control, and not with random ones."""

    kind: Literal["trained_weights"] = "trained_weights"
    """Which kind, in the file."""

    def prepare(self, config: Config, folder: Path, control: Path) -> dict[str, Any]:
        """Name the control, which has ended by then."""
        return {"train.init_from": str(control)}


class OtherTokenizer(Change):
    """The text was encoded with another tokenizer, and the manifest still names the old one."""

    kind: Literal["other_tokenizer"] = "other_tokenizer"
    """Which kind, in the file."""

    def prepare(self, config: Config, folder: Path, control: Path) -> dict[str, Any]:
        """Write the datasets with every id but the end of a document exchanged for another."""
        return _instead(config, folder, "other_tokenizer", lambda _number, source, copy: _write_permuted(source, copy))


class Unshuffled(Change):
    """Documents are read in the order in which they stand on disk, one source after the other."""

    kind: Literal["unshuffled"] = "unshuffled"
    """Which kind, in the file."""
    block_share: float = Field(default=0.08, gt=0, le=0.5)
    """Share of the run that reads one stretch of the file; the stretches are spread over all of it."""
    samples: Literal["in_order", "shuffled"] = "in_order"
    """`shuffled`: the documents are as badly ordered, but the samples are drawn at random."""

    def prepare(self, config: Config, folder: Path, control: Path) -> dict[str, Any]:
        """Give the datasets an index of samples in that order, as `data cache` would leave one of a shuffled order."""

        def write(number: int, source: Path, copy: Path) -> None:
            _link(source, copy, ("train.bin", "train.idx", "validation.bin", "validation.idx", "manifest.json"))
            _write_order(
                copy,
                config,
                max(1, round(self.block_share * config.train.steps)),
                is_shuffled=self.samples == "shuffled",
            )

        return _instead(config, folder, f"unshuffled_{self.samples}", write)


def _instead(config: Config, folder: Path, name: str, write: Any) -> dict[str, Any]:
    """The mix with a copy in the place of each dataset; `write` is given its number, its folder and the copy's."""
    entries = []
    for number, entry in enumerate(config.data.datasets):
        copy = folder / f"{name}_{number}"
        if not copy.is_dir():
            with atomic_folder(copy) as partial:
                write(number, Path(entry.path), partial)
        entries.append({**entry.model_dump(mode="json"), "path": str(copy)})
    return {DATASETS: entries}


def _link(source: Path, copy: Path, names: Iterable[str]) -> None:
    for name in names:
        (copy / name).symlink_to((source / name).absolute())


def _write_noise(source: Path, folder: Path, stretch: BadStretch, config: Config) -> None:
    """A dataset with the tokenizer of `source` and enough broken text for the stretch."""
    import numpy as np

    from data_prep.manifest import read_manifest, write_manifest
    from data_prep.megatron_writer import MegatronWriter
    from megatron_recipe.files import sha256_file

    manifest = read_manifest(source)
    tokenizer = manifest["tokenizer"]
    length = config.model.sequence_length_tokens
    draw = np.random.default_rng(config.data.seed)
    splits = {}
    with atomic_folder(folder) as partial:
        for split, samples in zip(SPLITS, (stretch.steps * config.batch.global_batch_size_samples + 1, 1), strict=True):
            drawn = samples * length + 1 if stretch.text == "random" else 1
            ids = np.resize(draw.integers(0, tokenizer["vocab_size"], drawn), samples * length + 1)
            with MegatronWriter(partial / split, tokenizer["vocab_size"], tokenizer["eod_id"]) as writer:
                writer.add_documents([ids])
            checksums = {kind: sha256_file(partial / f"{split}.{kind}") for kind in ("bin", "idx")}
            # of a token of random text no length in characters is known
            counted = {"documents": 1, "tokens": len(ids) + 1, "bytes": len(ids), "characters": len(ids)}
            splits[split] = {**manifest["splits"][split], **counted, "sha256": checksums}
        write_manifest(partial, {**manifest, "splits": splits})


def _write_permuted(source: Path, copy: Path) -> None:
    import numpy as np

    from data_prep.manifest import read_manifest, write_manifest
    from megatron_recipe.files import sha256_file

    manifest = read_manifest(source)
    words, end = manifest["tokenizer"]["vocab_size"], manifest["tokenizer"]["eod_id"]
    others = np.delete(np.arange(words), end)
    exchanged = np.arange(words)
    exchanged[others] = np.random.default_rng(0).permutation(others)
    splits = dict(manifest["splits"])
    for split in SPLITS:
        _link(source, copy, (f"{split}.idx",))
        ids = np.memmap(source / f"{split}.bin", dtype=splits[split]["dtype"], mode="r")
        exchanged.astype(ids.dtype)[ids].tofile(copy / f"{split}.bin")
        checksum = {**splits[split]["sha256"], "bin": sha256_file(copy / f"{split}.bin")}
        splits[split] = {**splits[split], "sha256": checksum}
    write_manifest(copy, {**manifest, "splits": splits})


def _write_order(dataset: Path, config: Config, block_steps: int, *, is_shuffled: bool) -> None:
    """The index files of a run's first epoch, under the name by which the run looks for them."""
    import numpy as np
    from megatron.core.datasets import helpers
    from megatron.core.datasets.gpt_dataset import _build_shuffle_index

    from megatron_recipe.corpus import Corpus
    from megatron_recipe.data import INDEX_CACHE
    from megatron_recipe.dataset_facts import read_dataset_facts
    from megatron_recipe.epoch_index import ARRAYS

    corpus = Corpus(read_dataset_facts(dataset), "train", config, (dataset,))
    lengths = corpus.indexed.sequence_lengths
    block = block_steps * config.batch.global_batch_size_samples * config.model.sequence_length_tokens
    documents = _in_blocks(lengths, block, -(-config.train.steps // block_steps))
    tokens = int(lengths.sum(dtype=np.int64))
    length = config.model.sequence_length_tokens
    samples = helpers.build_sample_idx(np.array(lengths), documents, length, 1, tokens, True, True)
    order = np.arange(len(samples) - 1, dtype=np.uint32)
    if is_shuffled:
        order = _build_shuffle_index(len(order), len(order), np.random.RandomState(config.data.seed))
    folder = dataset / INDEX_CACHE / corpus.index_name(0).folder
    folder.mkdir(parents=True)
    for name, array in zip(ARRAYS, (documents, samples, order), strict=True):
        np.save(folder / f"{name}.npy", array)


def _in_blocks(lengths: "npt.NDArray[np.int32]", block: int, blocks: int) -> "npt.NDArray[np.int32]":
    """All documents, and before the others `blocks` stretches of `block` tokens, evenly spaced over the file.

    So a short run passes all sources as an epoch would: on disk documents stand in the order of their sources.
    """
    import numpy as np

    ends = np.cumsum(lengths, dtype=np.int64)
    begins = np.arange(blocks) * ends[-1] // blocks
    firsts = np.searchsorted(ends, begins, side="right")
    stops = np.searchsorted(ends, begins + block, side="right")
    chosen = np.zeros(len(lengths), dtype=bool)
    for first, stop in zip(firsts, stops, strict=True):
        chosen[first : max(stop, first + 1)] = True
    numbers = np.arange(len(lengths), dtype=np.int32)
    return np.concatenate([numbers[chosen], numbers[~chosen]])
