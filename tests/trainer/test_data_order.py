"""What a rank reads: the order of the mix from any position, however it is read, and an error where reading ends."""

import itertools
import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from megatron_recipe import data
from megatron_recipe.batch_schedule import batch_size_at
from megatron_recipe.config import Config, SampleRange
from megatron_recipe.errors import MachineError
from megatron_recipe.loader_workers import dead_workers_are_an_error
from megatron_recipe.mix import Mix, Phase
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config
from megatron_recipe.sample_order import advance

SKIPS = [SampleRange(first=70, stop=90)]


@dataclass
class Numbers:
    """Stands in for a corpus: the tokens of a sample are the corpus's number and the sample's."""

    number: int
    prepared: list[tuple[int, int]] = field(default_factory=list)

    def prepare(self, first: int, stop: int) -> None:
        self.prepared.append((first, stop))

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        return {name: torch.tensor([self.number, position]) for name in data.FIELDS}


def training_data() -> data.TrainingData:
    corpora: list[Any] = [Numbers(0), Numbers(1)]
    return data.TrainingData(Mix([Phase(0, {0: 2.0, 1: 1.0}), Phase(100, {1: 1.0})], 2), corpora)


def configured(*overrides: str) -> Config:
    ramp = ("batch.ramp_up_from_samples=8", "batch.ramp_up_increment_samples=8", "batch.ramp_up_steps=4")
    size = ("batch.global_batch_size_samples=24", "batch.micro_batch_size_samples=4", "train.steps=6")
    return load_config("gpt_tiny_cpu", (*size, *ramp, *overrides))


def read(position: int, step: int, steps: int, config: Config, data_size: int = 1) -> list[list[tuple[int, int]]]:
    """The places of each step's samples, over all ranks."""
    loaders = [
        data.train_batches(
            training_data(), position, step, SKIPS, config, Ranks(rank, data_size, rank, data_size, torch.device("cpu"))
        )
        for rank in range(data_size)
    ]
    found = []
    for current in range(step, step + steps):
        count = batch_size_at(config.batch, current) // (config.batch.micro_batch * data_size)
        batches = [batch for loader in loaders for batch in itertools.islice(loader, count)]
        found.append([tuple(row) for batch in batches for row in batch["tokens"].tolist()])
    for loader in loaders:
        loader.close()
    return found


@pytest.fixture(scope="module")
def straight() -> list[list[tuple[int, int]]]:
    return read(0, 0, 12, configured())


def test_steps_take_the_mix_in_order_without_the_skips(straight):
    mix = training_data().mix
    taken = [place for step in straight for place in step]
    positions = [position for position in range(300) if not 70 <= position < 90]
    assert taken == [mix.locate(position) for position in positions[: len(taken)]]
    assert [len(step) for step in straight[:6]] == [8, 8, 16, 16, 24, 24]


@pytest.mark.parametrize(("data_size", "micro_batch"), [(1, 1), (2, 4), (2, 2), (4, 2), (8, 1)])
def test_each_global_batch_is_the_same_for_any_layout(straight, data_size, micro_batch):
    config = configured(f"batch.micro_batch_size_samples={micro_batch}")
    assert [sorted(step) for step in read(0, 0, 12, config, data_size)] == [sorted(step) for step in straight]


def test_a_longer_run_has_the_same_order(straight):
    assert read(0, 0, 12, configured("train.steps=1000")) == straight


@pytest.mark.parametrize("step", [1, 3, 7])
def test_a_run_that_is_continued_reads_the_tail(straight, step):
    position = 0
    for samples in straight[:step]:
        position = advance(position, len(samples), SKIPS)
    assert read(position, step, 12 - step, configured("train.steps=20"), data_size=2) != []
    assert read(position, step, 12 - step, configured()) == straight[step:]


def test_processes_that_read_ahead_change_nothing(straight):
    assert read(0, 0, 12, configured("data.num_workers=2")) == straight
    assert multiprocessing.active_children() == []


def test_reading_draws_nothing_from_the_runs_random_state():
    before = torch.get_rng_state()
    read(0, 0, 1, configured("data.num_workers=1"))
    assert torch.equal(before, torch.get_rng_state())


def test_what_the_rest_of_the_run_needs_is_prepared_first():
    whole = training_data()
    ranks = Ranks(0, 1, 0, 1, torch.device("cpu"))
    data.train_batches(whole, 40, 2, SKIPS, configured(), ranks)
    # steps 2 to 5 take 80 samples: positions 40 to 139 without 20, a third of them up to 100 and all from there on
    drawn = whole.mix.drawn(140)
    assert [corpus.prepared for corpus in whole.corpora] == [[(27, drawn[0])], [(13, drawn[1])]]


def test_an_epoch_that_is_reached_late_is_built_by_a_process_that_reads(dataset, tmp_path):
    """As after skips, or when a run on a budget goes on: nothing was prepared for these samples."""
    ranks = Ranks(0, 1, 0, 1, torch.device("cpu"))
    found = []
    for workers in (0, 2):
        config = configured(
            f"data.datasets={dataset}", "model.sequence_length_tokens=64", f"data.num_workers={workers}"
        )
        mix = data.build_mix(config, tmp_path / str(workers))
        end_of_epoch = mix.corpora[0].samples_per_epoch
        batches = data.train_batches(mix, end_of_epoch - 6, config.train.steps, [], config, ranks)
        assert not (tmp_path / str(workers)).exists()
        found.append(torch.cat([batch["tokens"] for batch in itertools.islice(batches, 3)]))
        batches.close()
        assert len(list((tmp_path / str(workers)).glob("1-train-*"))) == 2
    assert torch.equal(*found)


@pytest.fixture
def reading() -> Any:
    """A loader with one process, which has given its first batch."""
    ranks = Ranks(0, 1, 0, 1, torch.device("cpu"))
    batches = data.train_batches(training_data(), 0, 0, [], configured("data.num_workers=1"), ranks)
    next(batches)
    yield batches
    batches.close()


def read_until_error(batches: Any) -> None:
    # from here on, as the training loop does: torch raises from a signal handler, wherever the process is
    with dead_workers_are_an_error():
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        for _ in itertools.islice(batches, 1000):
            pass


@pytest.mark.timeout(30)
def test_a_killed_process_is_an_error_with_the_remedy(reading):
    with pytest.raises(MachineError, match=r"DataLoader worker.*--shm-size.*data\.num_workers=0"):
        read_until_error(reading)


@pytest.mark.timeout(30)
def test_a_process_outlives_the_signal_that_asks_the_run_to_stop(reading):
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGTERM)
    assert sum(1 for _ in itertools.islice(reading, 200)) == 200
    assert worker.is_alive()
    reading.close()
    worker.join(10)
    assert not worker.is_alive()


def test_a_batch_that_breaks_off_while_it_is_handed_over_is_an_error_with_the_remedy(monkeypatch):
    """What torch raises when a worker dies at that moment, before its death is noticed."""

    def break_off(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(Numbers, "__getitem__", break_off)
    with pytest.raises(MachineError, match=r"Connection reset by peer.*data\.num_workers=0"):
        read(0, 0, 1, configured())


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="CUDA error"), dead_workers_are_an_error():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="Caught RuntimeError"), dead_workers_are_an_error():
        raise RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback …")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("DataLoader worker (pid(s) 71, 72) exited unexpectedly", "/dev/shm"),
        ("DataLoader worker (pid 71) is killed by signal: Bus error. It is possible that", "/dev/shm"),
        ("DataLoader timed out after 300 seconds", "parallel.timeout_seconds"),
    ],
)
def test_each_way_of_failing_has_its_remedy(message, said):
    with pytest.raises(MachineError, match=said), dead_workers_are_an_error():
        raise RuntimeError(message)
