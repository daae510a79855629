"""A corpus: Megatron's own samples, epoch after epoch in an order that nothing changes, its index built once."""

import errno
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from megatron.core.datasets.gpt_dataset import GPTDataset
from megatron.core.datasets.utils import Split

from megatron_recipe import epoch_index
from megatron_recipe.config import Config
from megatron_recipe.corpus import OPEN_EPOCHS, PREPARED_EPOCHS, Corpus
from megatron_recipe.data import INDEX_CACHE, open_corpus
from megatron_recipe.errors import DataError, MachineError
from megatron_recipe.recipes import load_config

LENGTH = 64


def configured(dataset: Path, *overrides: str) -> Config:
    return load_config(
        "gpt_tiny_cpu", (f"data.datasets={dataset}", f"model.sequence_length_tokens={LENGTH}", *overrides)
    )


@pytest.fixture
def corpus(dataset: Path, tmp_path: Path) -> Corpus:
    return open_corpus(str(dataset), "train", configured(dataset), tmp_path)


def texts(corpus: Corpus, positions: range) -> list[bytes]:
    return [corpus[position]["tokens"].numpy().tobytes() for position in positions]


def test_an_epoch_is_megatrons(corpus, tmp_path):
    documents = np.arange(len(corpus.indexed.sequence_lengths), dtype=np.int32)
    config = corpus.epoch(0).config
    config.path_to_cache = str(tmp_path / "theirs")
    theirs = GPTDataset(corpus.indexed, "train", documents, None, Split.train, config)
    assert len(theirs) == corpus.samples_per_epoch
    for number in range(len(theirs)):
        ours = corpus[number]
        assert all(torch.equal(value, ours[name]) for name, value in theirs[number].items())


def test_every_epoch_has_each_document_once_in_another_order(corpus):
    orders = [corpus.epoch(number).document_index.tolist() for number in range(3)]
    assert [sorted(order) for order in orders] == [list(range(len(corpus.indexed.sequence_lengths)))] * 3
    assert len({tuple(order) for order in orders}) == 3
    positions = [corpus.epoch(number).shuffle_index.tolist() for number in range(3)]
    assert [sorted(one) for one in positions] == [list(range(corpus.samples_per_epoch))] * 3


def test_the_order_does_not_depend_on_how_many_samples_are_asked_for(dataset, tmp_path):
    few, many = (open_corpus(str(dataset), "train", configured(dataset), tmp_path / name) for name in ("few", "many"))
    few.prepare(0, 10)
    many.prepare(0, 4 * many.samples_per_epoch)
    assert [len(list((tmp_path / name).glob("1-*"))) for name in ("few", "many")] == [1, 4]
    around_the_end = range(few.samples_per_epoch - 5, few.samples_per_epoch + 5)
    assert texts(few, range(10)) == texts(many, range(10))
    assert texts(few, around_the_end) == texts(many, around_the_end)


@pytest.mark.parametrize(
    ("first", "stop", "epochs"),
    [(0, 0, []), (0, 1, [0]), (0, 10, [0]), (0, 11, [0, 1]), (10, 11, [1]), (9, 31, [0, 1, 2, 3])],
)
def test_epochs_of_a_stretch(corpus, first, stop, epochs):
    corpus.samples_per_epoch = 10
    assert list(corpus.epochs_of(first, stop)) == epochs


def test_an_index_that_is_there_is_not_built_again(dataset, tmp_path, monkeypatch):
    open_corpus(str(dataset), "train", configured(dataset), tmp_path).prepare(0, 1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(before) == 3

    def build(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(epoch_index, "build", build)
    open_corpus(str(dataset), "train", configured(dataset), tmp_path).prepare(0, 1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == before
    with pytest.raises(AssertionError, match="built again"):
        open_corpus(str(dataset), "train", configured(dataset, "data.seed=7"), tmp_path).prepare(0, 1)


def test_an_index_beside_the_dataset_is_taken(corpus, dataset, tmp_path):
    beside = Corpus(corpus.facts, "train", configured(dataset), [tmp_path / INDEX_CACHE])
    beside.prepare(0, 1)
    run = Corpus(corpus.facts, "train", configured(dataset), [tmp_path / INDEX_CACHE, tmp_path / "run"])
    assert texts(run, range(5)) == texts(beside, range(5))
    assert not (tmp_path / "run").exists()


def build_slowly(cache: Path, log: Path, start: "multiprocessing.synchronize.Barrier") -> None:
    """What several ranks do at the same moment."""
    real = epoch_index.build

    def build(name: epoch_index.IndexName, lengths: np.ndarray) -> epoch_index.Arrays:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.2)
        return real(name, lengths)

    epoch_index.build = build
    start.wait()
    name = epoch_index.IndexName("train", "a" * 64, 8, 1)
    documents, samples, _ = epoch_index.load_or_build(name, [cache], np.full(10, 20, dtype=np.int32))
    assert (len(documents), len(samples)) == (10, 25)


def test_one_process_builds_while_the_others_wait(tmp_path):
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    arguments = (tmp_path / "cache", tmp_path / "log", start)
    processes = [context.Process(target=build_slowly, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".lock", f"1-train-8-1-{'a' * 16}"]


def test_a_damaged_index_is_an_error_with_the_remedy(dataset, tmp_path):
    open_corpus(str(dataset), "train", configured(dataset), tmp_path).prepare(0, 1)
    (damaged,) = tmp_path.rglob("sample_index.npy")
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(DataError, match=r"damaged .* delete this folder, and it is built again"):
        open_corpus(str(dataset), "train", configured(dataset), tmp_path).prepare(0, 1)


def test_a_split_without_one_sample_is_an_error(dataset, tmp_path):
    config = configured(dataset, "model.sequence_length_tokens=1000000")
    with pytest.raises(DataError, match=r"less than one sample of model\.sequence_length_tokens=1000000"):
        open_corpus(str(dataset), "train", config, tmp_path)


def test_the_parts_of_a_sample_are_its_tokens_and_its_last_label(corpus):
    crossing = 0
    for position in (*range(200), corpus.samples_per_epoch + 3):
        sample, parts = corpus[position], corpus.parts(position)
        tokens = [corpus.indexed.get(part.document, offset=part.first, length=part.stop - part.first) for part in parts]
        assert np.concatenate(tokens).tolist() == [*sample["tokens"].tolist(), int(sample["labels"][-1])]
        crossing += len(parts) > 1
    assert crossing > 10


def test_with_masking_documents_begin_where_the_parts_do(dataset, tmp_path):
    corpus = open_corpus(str(dataset), "train", configured(dataset, "data.mask_between_documents=true"), tmp_path)
    for position in range(200):
        ends = np.cumsum([part.stop - part.first for part in corpus.parts(position)])
        begins = [0, *(end for end in ends.tolist() if end < LENGTH), LENGTH]
        assert corpus[position]["cu_seqlens"].unique().tolist() == begins


def test_a_sample_without_loss_has_none(corpus):
    assert corpus.without_loss()["loss_mask"].sum() == 0
    assert corpus[0]["loss_mask"].sum() == LENGTH


def test_many_epochs_hold_few_files(corpus):
    corpus.prepare(0, 100 * corpus.samples_per_epoch)
    assert len(corpus._epochs) == OPEN_EPOCHS
    built = [folder for folder in corpus.caches[-1].iterdir() if folder.is_dir()]
    assert len(built) == PREPARED_EPOCHS  # the others when they are needed
    far = 50 * corpus.samples_per_epoch + 3
    again = corpus[far]["tokens"]
    assert len(corpus._epochs) == OPEN_EPOCHS and again.equal(corpus[far]["tokens"])


def test_too_many_open_files_are_not_called_damage(corpus, monkeypatch):
    def load(*args, **options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(epoch_index.np, "load", load)
    with pytest.raises(MachineError, match=r"Too many open files; allow more \(ulimit -n 65536\)"):
        corpus.epoch(0)
