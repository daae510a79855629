"""A mix that changes in the middle of a run: no sample twice, none lost, over restarts and for phases added late."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flows import events, trained, training_is_refused
from small_dataset import write_dataset
from small_runs import BATCH, arguments, records
from typer.testing import CliRunner

from data_prep.cli import app

STOP, CHANGE, AGAIN, END = 2, 4, 5, 7
"""First stop, first step of the second mix, second stop, last step."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second dataset, of the same tokenizer."""
    return write_dataset(tmp_path_factory.mktemp("other") / "data")


def of_phases(dataset: Path, other: Path, run: Path, stop: int, change: int | None) -> list[object]:
    """Arguments of a run whose mix changes at step `change`: from `dataset` to one third of it, two of `other`."""
    mix = f"[{{path: {dataset}, weight: 1}}, {{path: {other}, weight: 2}}]"
    phases = f"[{{from_step: {change}, datasets: {mix}}}]" if change else "[]"
    return ["gpt_tiny_cpu", *arguments(dataset, run, f"train.stop_at_step={stop}", f"data.phases={phases}")]


@pytest.fixture(scope="module")
def whole_run(dataset: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that knew its phases from the start, and was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    trained(folder, *of_phases(dataset, other, folder / "run", END, CHANGE))
    return folder / "run"


@pytest.fixture(scope="module")
def stopped_run(dataset: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phase was added at its first stop; it was stopped again in the new mix, and came to the same end."""
    folder = tmp_path_factory.mktemp("stopped")
    run = folder / "run"
    trained(folder, *of_phases(dataset, other, run, STOP, None))
    trained(folder, *of_phases(dataset, other, run, AGAIN, CHANGE))
    trained(folder, *of_phases(dataset, other, run, END, CHANGE))
    return run


def who(run: Path) -> Iterator[dict[str, Any]]:
    """All samples of a run, in their order."""
    for step in range(1, END + 1):
        result = CliRunner().invoke(app, ["who", str(run), "--step", str(step), "--samples", "0", "--json"])
        assert result.exit_code == 0, result.output
        yield from json.loads(result.stdout)["samples"]


def test_a_phase_added_late_gives_the_run_that_had_it_from_the_start(stopped_run, whole_run):
    assert [event["step"] for event in events(stopped_run, "start", "resume")] == [0, STOP, AGAIN]
    for field in ("step", "position", "loss", "grad_norm"):
        values = [record[field] for record in records(stopped_run, "train")]
        assert values == [record[field] for record in records(whole_run, "train")] and len(values) == END


def test_no_sample_is_repeated_and_none_is_lost(stopped_run, whole_run, dataset, other):
    samples = list(who(stopped_run))
    assert samples == list(who(whole_run))
    assert [sample["position"] for sample in samples] == list(range(END * BATCH))
    for name in (dataset, other):
        of_one = [sample["sample"] for sample in samples if sample["dataset"] == str(name)]
        assert of_one == list(range(len(of_one)))
    first = [sample["dataset"] for sample in samples[: CHANGE * BATCH]]
    later = [sample["dataset"] for sample in samples[CHANGE * BATCH :]]
    assert set(first) == {str(dataset)}
    assert later.count(str(other)) == pytest.approx(len(later) * 2 / 3, abs=2)


def test_a_phase_that_changes_the_past_is_refused(stopped_run, dataset, other):
    config = (stopped_run / "config.yaml").read_bytes()
    for change in (None, CHANGE - 1, CHANGE + 1):
        said = training_is_refused(stopped_run.parent, *of_phases(dataset, other, stopped_run, END + 2, change))
        assert "holds a run that began with other settings" in said and "data.phases" in said
    assert (stopped_run / "config.yaml").read_bytes() == config
