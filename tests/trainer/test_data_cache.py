"""`data cache` builds all that a run reads, beside its datasets, and the run then builds nothing."""

import itertools
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.verify import verify
from megatron_recipe import data, epoch_index
from megatron_recipe.errors import ConfigError, MachineError
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config
from megatron_recipe.validate_loss import held_out_sets


@pytest.fixture
def datasets(dataset: Path, tmp_path: Path) -> list[Path]:
    """Two copies, to be written to."""
    return [Path(shutil.copytree(dataset, tmp_path / name)) for name in ("one", "two")]


@pytest.fixture
def settings(datasets: list[Path]) -> list[str]:
    """A run of 2,400 samples: the first dataset alone for 800, then both; 1,498 samples an epoch."""
    one, two = datasets
    return [
        f"data.datasets={one}",
        f"data.phases=[{{from_step: 50, datasets: [{{path: {one}, weight: 3}}, {{path: {two}}}]}}]",
        f"data.validation_sets=[{{name: second, path: {two}}}]",
        "model.sequence_length_tokens=64",
        "train.steps=150",
    ]


def cache(settings: list[str], *arguments: str) -> str:
    options = [word for setting in settings for word in ("--set", setting)]
    command = ["cache", "gpt_tiny_cpu", *options, *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def files(datasets: list[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for folder in datasets for path in (folder / "index_cache").rglob("*.npy")}


def test_all_epochs_are_built_once(settings, datasets):
    assert "would build 2 of 2 epochs" in cache(settings, "--dry-run")
    assert files(datasets) == {}
    assert "train: 1,498 samples an epoch; built 2 epochs" in cache(settings)
    built = files(datasets)
    names = sorted(path.parent.name.split("-")[1] for path in built if path.name == "sample_index.npy")
    assert names == ["train", "train", "train", "validation", "validation"]
    assert "built 0 epochs in 0.0 s, found 2" in cache(settings)
    assert files(datasets) == built


def test_the_run_builds_nothing_then(settings, datasets, tmp_path, monkeypatch):
    cache(settings)

    def build(*_: object) -> None:
        raise AssertionError("built at the start of the run")

    monkeypatch.setattr(epoch_index, "build", build)
    config = load_config("gpt_tiny_cpu", tuple(settings))
    mix = data.build_mix(config, tmp_path / "run")
    batches = data.train_batches(mix, 0, 0, [], config, Ranks(0, 1, 0, 1, torch.device("cpu")))
    assert sum(len(batch["tokens"]) for batch in itertools.islice(batches, 2 * 150)) == 2400
    for held_out in held_out_sets(config, tmp_path / "run"):
        assert held_out[held_out.samples - 1]["tokens"].shape == (64,)
    assert not (tmp_path / "run").exists()


def test_a_dataset_with_its_cache_still_verifies(settings, datasets):
    cache(settings)
    assert "verified" in verify(datasets[0])


def test_a_folder_that_cannot_be_written_to_is_an_error(settings, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(MachineError, match=r"cannot be written to \(Permission denied\); copy the dataset"):
        cache(settings)


def test_it_takes_a_recipe_or_a_config():
    for arguments in ([], ["gpt_tiny_cpu", "--config", "config.yaml"]):
        with pytest.raises(ConfigError, match="takes a recipe or --config FILE"):
            CliRunner().invoke(app, ["cache", *arguments], catch_exceptions=False)
