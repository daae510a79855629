"""`train.init_from`: what is accepted, what is refused before anything starts, and what a run then begins with."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from direct_steps import DirectRun
from megatron.core import dist_checkpointing
from small_runs import arguments

from checkpoints_tools.hf_tokenizer import convert_tokenizer
from megatron_recipe.checkpoint import step_folder
from megatron_recipe.checkpoint_integrity import MARKER, OWN_CHECKSUM, write_marker
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts, read_dataset_facts
from megatron_recipe.errors import CheckpointError, ConfigError
from megatron_recipe.init_from import check_init_from, find_weights
from megatron_recipe.initial_weights import take_initial_weights
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config
from megatron_recipe.train_command import train_command

ONE_RANK = Ranks(0, 1, 0, 1, torch.device("cpu"))


def configured(dataset: Path, init_from: Path, *overrides: str) -> Config:
    words = [str(word) for word in arguments(dataset, Path("unused"), f"train.init_from={init_from}", *overrides)]
    return load_config("gpt_tiny_cpu", tuple(words[3::2]))


@pytest.fixture
def facts(dataset: Path) -> list[DatasetFacts]:
    return [read_dataset_facts(dataset)]


@pytest.fixture
def source(half_run: Path, tmp_path: Path) -> Path:
    """A run of five steps that a test may change."""
    return Path(shutil.copytree(half_run, tmp_path / "source"))


def change_marker(run: Path, **changes: object) -> None:
    """Write the marker of a run's checkpoint anew, as a run of that kind would have; None takes a field away."""
    folder = step_folder(run / "checkpoints", 5)
    marker = json.loads((folder / MARKER).read_text())
    for name in (OWN_CHECKSUM, "integrity_sha256"):
        del marker[name]
    write_marker(folder, {name: value for name, value in {**marker, **changes}.items() if value is not None})


def test_a_run_and_its_checkpoint_are_accepted(dataset, facts, source, tmp_path):
    for path in (source, step_folder(source / "checkpoints", 5)):
        check_init_from(configured(dataset, path), facts, tmp_path / "new")
        assert find_weights(str(path)) == step_folder(source / "checkpoints", 5)
    # what changes no weight, and how new ones would be drawn
    other = configured(dataset, source, "model.sequence_length_tokens=32", "model.init_std=0.5")
    check_init_from(other, facts, tmp_path / "new")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("model.num_layers=2",), "num_layers=4 in the checkpoint, 2 in the recipe"),
        (("model.rope_theta=5e5",), r"rope_theta=10000\.0 in the checkpoint, 500000\.0 in the recipe"),
        (("model.norm_epsilon=1e-6",), "norm_epsilon"),
        (("model.rope_scaling.factor=8",), "rope_scaling="),
        (("model.qkv_bias=true",), "qkv_bias=False in the checkpoint, True"),
        (("model.vocab_size=600",), "vocab_size=500 in the checkpoint, 600 in the recipe"),
        (("model.tied_embeddings=false",), "tied_embeddings"),
    ],
)
def test_another_architecture_is_refused_with_each_difference(dataset, facts, source, tmp_path, overrides, words):
    with pytest.raises(ConfigError, match=f"train.init_from=.*another architecture: .*{words}.*source/config.yaml"):
        check_init_from(configured(dataset, source, *overrides), facts, tmp_path / "new")


def test_a_checkpoint_older_than_a_field_has_its_default(dataset, facts, source, tmp_path):
    model = json.loads((step_folder(source / "checkpoints", 5) / MARKER).read_text())["model"]
    for name in ("qkv_bias", "rope_scaling", "vocab_size"):
        del model[name]
    change_marker(source, model=model, tokenizer_sha256=None)
    check_init_from(configured(dataset, source), facts, tmp_path / "new")
    with pytest.raises(ConfigError, match="qkv_bias=False in the checkpoint"):
        check_init_from(configured(dataset, source, "model.qkv_bias=true"), facts, tmp_path / "new")


def test_another_tokenizer_is_refused_unless_it_gives_the_same_ids(dataset, facts, source, tmp_path):
    change_marker(source, tokenizer_sha256="of another file")
    with pytest.raises(ConfigError, match=r"another tokenizer than that of .*small"):
        check_init_from(configured(dataset, source), facts, tmp_path / "new")
    convert_tokenizer(dataset / "tokenizer/tokenizer.model", source / "tokenizer", eod_id=1, max_length=64)
    check_init_from(configured(dataset, source), facts, tmp_path / "new")
    changed = json.loads((source / "tokenizer/tokenizer.json").read_text())
    changed["model"]["merges"] = changed["model"]["merges"][:50]
    (source / "tokenizer/tokenizer.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match="another tokenizer"):
        check_init_from(configured(dataset, source), facts, tmp_path / "new")


def test_no_checkpoint_and_a_damaged_one_are_refused(dataset, facts, source, tmp_path):
    with pytest.raises(ConfigError, match="no complete checkpoint there; give a folder of `megatron-recipe convert"):
        check_init_from(configured(dataset, tmp_path / "nothing"), facts, tmp_path / "new")
    marker = step_folder(source / "checkpoints", 5) / MARKER
    marker.write_text(marker.read_text().replace('"step": 5', '"step": 6'))
    with pytest.raises(ConfigError, match=r"checkpoint\.json is damaged"):
        check_init_from(configured(dataset, source), facts, tmp_path / "new")


def test_a_run_with_a_checkpoint_of_its_own_does_not_look_again(dataset, facts, source, tmp_path):
    check_init_from(configured(dataset, tmp_path / "nothing", "model.num_layers=2"), facts, source)


def test_the_newest_checkpoint_is_taken(source):
    later = shutil.copytree(step_folder(source / "checkpoints", 5), source / "checkpoints/weights_00000009")
    marker = json.loads((later / MARKER).read_text())
    write_marker(later, {**{name: marker[name] for name in ("format", "model", "vocab_size")}, "step": 9})
    assert find_weights(str(source)) == later


def test_a_run_begins_with_the_weights_and_nothing_else(megatron_groups, dataset, source, monkeypatch):
    monkeypatch.setattr("direct_steps.VOCAB", 500)
    config = configured(dataset, source)
    run = DirectRun(config)
    untouched = run.weights()
    folder = take_initial_weights(run.training, config, ONE_RANK)
    assert folder == step_folder(source / "checkpoints", 5)
    stored = run.model[0].module.sharded_state_dict(metadata={"singleton_local_shards": False})
    expected = dist_checkpointing.load({"model": stored}, str(folder))["model"]
    weights = run.weights()
    for name, weight in weights.items():
        assert torch.equal(weight, expected[name.removeprefix("0.module.")]), name
    assert any(not torch.equal(weight, untouched[name]) for name, weight in weights.items())
    assert run.scheduler.num_steps == 0 and run.training.state.step == 0
    assert not any(
        state for state in run.optimizer.optimizer.state.values() if "exp_avg" in state and state["exp_avg"].any()
    )


def test_damaged_weights_are_refused(megatron_groups, dataset, source, monkeypatch):
    monkeypatch.setattr("direct_steps.VOCAB", 500)
    file = next(step_folder(source / "checkpoints", 5).glob("*.distcp"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    run = DirectRun(configured(dataset, source))
    with pytest.raises(CheckpointError, match=r"train\.init_from: .*differs from its checksum"):
        take_initial_weights(run.training, configured(dataset, source), ONE_RANK)


def test_a_dry_run_says_where_it_begins(dataset, source, tmp_path, capsys):
    overrides = tuple(str(word) for word in arguments(dataset, tmp_path, f"train.init_from={source}")[3::2])
    command = {"config_file": None, "gpu": None, "auto_micro_batch": False, "dry_run": True}
    assert train_command("gpt_tiny_cpu", overrides=overrides, run_dir=tmp_path / "new", **command) == 0
    assert f"beginning with the weights of {source / 'checkpoints/step_00000005'}" in capsys.readouterr().err
    assert train_command("gpt_tiny_cpu", overrides=overrides, run_dir=source, **command) == 0
    assert "beginning" not in capsys.readouterr().err
