"""The numbers of a run don't depend on how it is spread over processes."""

import itertools
import shutil
from pathlib import Path

import pytest
from commands import run_warm, torchrun_command
from small_runs import arguments, records

LAYOUTS = {
    "data parallel": ("parallel.distributed_optimizer=false",),
    "data parallel, distributed optimizer": ("parallel.distributed_optimizer=true",),
    "tensor parallel": ("parallel.tensor=2",),
    "tensor and sequence parallel": ("parallel.tensor=2", "parallel.sequence_parallel=true"),
    "pipeline parallel": ("parallel.pipeline=2",),
    "pipeline parallel, virtual stages": ("parallel.pipeline=2", "parallel.virtual_stages=2"),
}
OF_FOUR = {
    "virtual stages and data parallel": ("parallel.pipeline=2", "parallel.virtual_stages=2"),
    "virtual stages and tensor parallel": (
        "parallel.pipeline=2",
        "parallel.virtual_stages=2",
        "parallel.tensor=2",
        "parallel.sequence_parallel=true",
    ),
}
CASES = [(2, settings) for settings in LAYOUTS.values()] + [(4, settings) for settings in OF_FOUR.values()]


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "layout"), CASES, ids=[*LAYOUTS, *OF_FOUR])
def test_several_processes_continue_a_checkpoint_with_the_numbers_of_one(
    dataset, half_run, resumed_run, tmp_path, processes, layout
):
    folder = Path(shutil.copytree(half_run, tmp_path / "run"))
    result = run_warm(
        torchrun_command(processes, arguments(dataset, folder, "train.stop_at_step=10", *layout)), cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    alone, spread = records(resumed_run, "train"), records(folder, "train")
    assert [record["step"] for record in spread] == [record["step"] for record in alone] == list(range(1, 11))
    for field, tolerance in (("loss", 1e-4), ("grad_norm", 1e-3), ("learning_rate", 0), ("samples", 0)):
        expected = [record[field] for record in alone[5:]]
        assert [record[field] for record in spread[5:]] == pytest.approx(expected, rel=tolerance, abs=0)
    held_out = [record["loss"] for record in records(resumed_run, "validation")]
    assert len(held_out) == 2  # of steps 5 and 10
    assert [record["loss"] for record in records(folder, "validation")] == pytest.approx(held_out, rel=1e-4)


@pytest.mark.slow
def test_held_out_text_need_not_fill_interleaved_stages(dataset, half_run, tmp_path):
    few = ("train.stop_at_step=6", "train.validation_samples=6", "batch.micro_batch_size_samples=2")  # 3 micro-batches
    losses = []
    for name, processes, layout in (("alone", 1, ()), ("spread", 2, LAYOUTS["pipeline parallel, virtual stages"])):
        folder = Path(shutil.copytree(half_run, tmp_path / name))
        result = run_warm(torchrun_command(processes, arguments(dataset, folder, *few, *layout)), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        losses.append(records(folder, "validation")[-1])
    assert [record["step"] for record in losses] == [6, 6]
    assert losses[1]["loss"] == pytest.approx(losses[0]["loss"], rel=1e-4)


def test_the_numbers_compared_differ_from_step_to_step_by_more_than_is_allowed(resumed_run):
    for field, tolerance in (("loss", 1e-4), ("grad_norm", 1e-3)):
        values = [record[field] for record in records(resumed_run, "train")[5:]]
        assert all(abs(later / earlier - 1) > 2 * tolerance for earlier, later in itertools.pairwise(values)), field
