"""A run folder and its dataset moved to another place go on there, with another micro-batch, as if nothing had been."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import sets
from flows import trained, training_is_refused
from small_dataset import write_dataset
from small_runs import records
from typer.testing import CliRunner

from data_prep.cli import app
from megatron_recipe.errors import DataError
from megatron_recipe.recipes import load_config
from megatron_recipe.train_command import check_without_torch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def moved(dataset: Path, half_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset and the run, continued there by its own config.yaml under a smaller micro-batch."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(dataset, folder / "data")
    shutil.copytree(half_run, folder / "run")
    overrides = ("train.stop_at_step=10", "batch.micro_batch_size_samples=4", f"data.datasets={folder / 'data'}")
    said = trained(folder, "--config", folder / "run/config.yaml", *sets(*overrides))
    assert f"continuing {folder / 'run'} after step 5" in said
    return folder


def who(run: Path, step: int) -> list[dict[str, Any]]:
    """Samples of a step, without the names of their datasets."""
    result = CliRunner().invoke(app, ["who", str(run), "--step", str(step), "--samples", "0", "--json"])
    assert result.exit_code == 0, result.output
    return [
        {**sample, "dataset": Path(sample["dataset"]).name != ""} for sample in json.loads(result.stdout)["samples"]
    ]


def test_the_moved_run_goes_on_with_the_same_samples_and_losses(moved, resumed_run):
    here, there = records(resumed_run, "train"), records(moved / "run", "train")
    for field in ("step", "samples", "position", "learning_rate"):
        assert [record[field] for record in there] == [record[field] for record in here]
    losses = [record["loss"] for record in here]
    assert [record["loss"] for record in there] == pytest.approx(losses, rel=1e-3)
    held_out = [record["loss"] for record in records(resumed_run, "validation")]
    assert [record["loss"] for record in records(moved / "run", "validation")] == pytest.approx(held_out, rel=1e-3)


@pytest.mark.parametrize("step", [5, 6, 11])
def test_steps_before_and_after_the_move_are_of_the_same_documents(moved, resumed_run, step):
    assert who(moved / "run", step) == who(resumed_run, step)
    assert who(moved / "run", step) != who(moved / "run", step + 1)


def test_another_dataset_in_the_old_ones_place_is_refused(half_run, tmp_path):
    write_dataset(tmp_path / "data", vocab_size=500)
    shutil.copytree(half_run, tmp_path / "run")
    manifest = json.loads((tmp_path / "data/manifest.json").read_text(encoding="utf-8"))
    manifest["splits"]["train"]["sha256"]["bin"] = "0" * 64
    (tmp_path / "data/manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    before = (tmp_path / "run/metrics.jsonl").read_bytes()
    arguments = ("--config", tmp_path / "run/config.yaml", *sets("train.stop_at_step=10"))
    said = training_is_refused(tmp_path, *arguments, *sets(f"data.datasets={tmp_path / 'data'}"))
    assert "holds a run that began with other settings" in said and "data.datasets" in said
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["data.datasets=GONE"], "name its new place: --set data.datasets=NEW"),
        (["data.datasets=HERE,GONE"], "name its new place: --set data.datasets=NEW with all datasets of the mix"),
        (
            ["data.datasets=HERE", "data.phases=[{from_step: 5, datasets: [{path: GONE}]}]"],
            "write its new place into data.phases of the configuration",
        ),
        (
            ["data.datasets=HERE", "data.validation_sets=[{name: a, path: GONE}]"],
            "write its new place into data.validation_sets of the configuration",
        ),
    ],
)
def test_a_dataset_that_is_gone_is_asked_for_by_its_setting(dataset, tmp_path, overrides, remedy):
    gone = str(tmp_path / "gone")
    here = (one.replace("GONE", gone).replace("HERE", str(dataset)) for one in overrides)
    config = load_config("gpt_tiny_cpu", tuple(here))
    with pytest.raises(DataError) as caught:
        check_without_torch(config)
    message = str(caught.value)
    assert message.startswith(f"{gone}: not a dataset (no manifest.json)")
    assert message.endswith(f"; if it was moved, {remedy}")


def test_a_dataset_that_is_damaged_was_not_moved(tmp_path):
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="damaged") as caught:
        check_without_torch(load_config("gpt_tiny_cpu", (f"data.datasets={tmp_path}",)))
    assert "moved" not in str(caught.value)
