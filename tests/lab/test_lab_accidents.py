"""What the lab does to a run to break it: data, process, and strikes from outside."""

import json
import resource
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.manifest import read_manifest
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.files import sha256_file
from megatron_recipe.lab.accident_data import BadStretch, OtherTokenizer, TrainedWeights, Unshuffled
from megatron_recipe.lab.accident_process import DecayNorms, MemoryLimit, SlowReading
from megatron_recipe.lab.accident_strikes import NodeKilled
from megatron_recipe.lab.incident import incident_names, read_incident
from megatron_recipe.lab.incident_plan import with_values
from megatron_recipe.lab.incident_verdict import require_known_names
from megatron_recipe.recipes import load_config

STEPS, BATCH, LENGTH = 40, 4, 16
OURS = (
    "attention-logits",
    "bad-data-stretch",
    "bad-initialisation",
    "checkpoint-lost",
    "decay-on-norms",
    "no-shuffle",
    "node-killed",
    "out-of-memory",
    "slow-data",
    "wrong-tokenizer",
)


@pytest.fixture
def config(dataset: Path) -> Config:
    values = {
        "data.datasets": dataset,
        "batch.global_batch_size_samples": BATCH,
        "batch.micro_batch_size_samples": 2,
        "model.sequence_length_tokens": LENGTH,
        "train.steps": STEPS,
    }
    return load_config("gpt_tiny_cpu", tuple(f"{name}={value}" for name, value in values.items()))


def samples_of(config: Config, folder: Path, count: int) -> list[list[int]]:
    """Tokens of the first samples that a run of `config` reads."""
    from megatron_recipe.data import build_mix

    data = build_mix(config, folder / "index")
    data.prepare(0, count)
    return [data[data.mix.locate(position)]["tokens"].tolist() for position in range(count)]


@pytest.mark.parametrize("name", OURS)
def test_incident_files_name_what_there_is(name: str) -> None:
    assert name in incident_names()
    require_known_names(read_incident(name))


# --- data ---


def test_a_bad_stretch_is_read_at_its_steps_alone(config: Config, tmp_path: Path) -> None:
    change = BadStretch(after=0.5, steps=3)
    changed = with_values(config, change.prepare(config, tmp_path, tmp_path))
    assert change.prepare(config, tmp_path, tmp_path) == change.prepare(config, tmp_path, tmp_path)
    healthy, broken = (samples_of(one, tmp_path / str(n), 30 * BATCH) for n, one in enumerate((config, changed)))
    bad = range(20 * BATCH, 23 * BATCH)
    assert healthy[: bad.start] == broken[: bad.start]
    assert healthy[bad.start : bad.start + 7 * BATCH] == broken[bad.stop :]  # nothing was passed over
    drawn = {token for position in bad for token in broken[position]}
    assert len(drawn) > 100  # of 500 ids
    assert all(sample not in healthy for sample in broken[bad.start : bad.stop])


def test_another_tokenizer_exchanges_ids_and_the_manifest_does_not_say_so(config: Config, tmp_path: Path) -> None:
    source = Path(config.data.datasets[0].path)
    (entry,) = OtherTokenizer().prepare(config, tmp_path, tmp_path)["data.datasets"]
    copy, facts = Path(entry["path"]), read_dataset_facts(source)
    assert read_dataset_facts(copy).tokenizer_sha256 == facts.tokenizer_sha256
    for split in ("train", "validation"):
        ids, others = (np.fromfile(folder / f"{split}.bin", np.uint16) for folder in (source, copy))
        pairs = set(zip(ids.tolist(), others.tolist(), strict=True))
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})  # one to one
        assert (facts.eod_id, facts.eod_id) in pairs
        assert sum(one != other for one, other in pairs) > 0.9 * len(pairs)
        assert read_manifest(copy)["splits"][split]["sha256"]["bin"] == sha256_file(copy / f"{split}.bin")


def test_trained_weights_are_those_of_the_control(config: Config, tmp_path: Path) -> None:
    assert TrainedWeights().prepare(config, tmp_path, tmp_path / "control") == {
        "train.init_from": str(tmp_path / "control")
    }


def test_without_a_shuffle_the_file_is_read_from_its_beginning_to_its_end(config: Config, tmp_path: Path) -> None:
    from megatron_recipe.data import build_mix

    read: dict[str, list[int]] = {}
    for samples in ("in_order", "shuffled"):
        changed = with_values(config, Unshuffled(block_share=0.2, samples=samples).prepare(config, tmp_path, tmp_path))
        (corpus,) = build_mix(changed, tmp_path / "not_needed").corpora
        corpus.prepare(0, 1)
        read[samples] = [corpus.parts(position)[0].document for position in range(STEPS * BATCH)]
    assert read["in_order"] == sorted(read["in_order"])
    assert read["in_order"][-1] > 60  # the documents before hold ten times the run's tokens: most were passed over
    assert read["shuffled"] != sorted(read["shuffled"])
    assert not (tmp_path / "not_needed").exists()


# --- the run's process ---


def test_decay_reaches_all_groups_inside_alone(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from megatron_recipe import optimizer

    groups = SimpleNamespace(param_groups=[{"wd_mult": 1.0}, {"wd_mult": 0.0}])
    monkeypatch.setattr(optimizer, "build_optimizer", lambda *_arguments: groups)
    outside = optimizer.build_optimizer
    with DecayNorms().inside(config):
        built = optimizer.build_optimizer(config, [])
    assert [group["wd_mult"] for group in built.param_groups] == [1.0, 1.0]
    assert optimizer.build_optimizer is outside


def test_slow_reading_takes_its_time_for_each_sample(config: Config, tmp_path: Path) -> None:
    from megatron_recipe.data import TrainingData

    outside = TrainingData.__getitem__
    with SlowReading(seconds_per_sample=0.02).inside(config):
        began = time.monotonic()
        samples_of(config, tmp_path, 5)
        assert time.monotonic() - began >= 0.1
    assert TrainingData.__getitem__ is outside


def test_a_forward_pass_may_take_what_a_part_of_the_batch_needs(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from megatron_recipe import train

    def limit() -> int:
        return resource.getrlimit(resource.RLIMIT_DATA)[0]

    before = limit()
    room: list[int] = []
    monkeypatch.setattr(train, "forward_step", lambda *_arguments: room.append(limit()))
    outside = train.forward_step
    for share in (0.25, 1.0):
        with MemoryLimit(share_of_batch=share).inside(config):
            train.forward_step("batches", "model")
            assert limit() == before
        assert train.forward_step is outside
    assert 0 < room[0] < room[1]


# --- strikes ---


def a_run(folder: Path, step: int) -> Path:
    (folder / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": step}) + "\n")
    for saved in (10, 20):
        checkpoint = folder / f"checkpoints/step_{saved:08d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "small").write_bytes(b"1234")
        (checkpoint / "large").write_bytes(b"12345678")
    return folder


def test_a_node_is_killed_once_when_its_steps_are_done(config: Config, tmp_path: Path) -> None:
    change = NodeKilled(after=0.5)
    assert not change.strikes(config, tmp_path)  # before the first record
    folder = a_run(tmp_path, step=19)
    assert not change.strikes(config, folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 20}\n{"kind": "tr')
    assert change.strikes(config, folder)
    (folder / "strikes.json").write_text('{"count": 1}')
    assert not change.strikes(config, folder)


def test_checkpoints_are_kept_damaged_or_lost(config: Config, tmp_path: Path) -> None:
    folder = a_run(tmp_path, step=20)
    newest = folder / "checkpoints/step_00000020"
    NodeKilled(checkpoints="kept").aftermath(config, folder)
    assert (newest / "large").stat().st_size == 8
    NodeKilled(checkpoints="newest_damaged").aftermath(config, folder)
    assert (newest / "large").stat().st_size == 4
    assert (folder / "checkpoints/step_00000010/large").stat().st_size == 8
    NodeKilled(checkpoints="all_lost").aftermath(config, folder)
    assert not list((folder / "checkpoints").iterdir())
