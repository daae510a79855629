"""The headline numbers, recomputed from what the files hold."""

import dataclasses
import math
import statistics
from typing import Any

import pytest
from made_run import Project

from megatron_recipe.report.run_files import Dataset, Run, read_run
from megatron_recipe.report.summary import device_label, passes_over, summarise


def test_headline(project: Project) -> None:
    run = read_run(project.run)
    summary = summarise(run)
    assert summary.train_loss == pytest.approx(statistics.fmean(r["loss"] for r in project.train[-20:]))
    assert summary.tokens_per_second == pytest.approx(
        statistics.median(r["tokens_per_second"] for r in project.train[3:])
    )
    assert (summary.steps, summary.tokens, summary.parameters) == (400, 400 * 4096, 1_392_768)
    assert summary.seconds == project.train[-1]["seconds"]
    assert summary.uniform == pytest.approx(math.log(4096))
    assert summary.tokens_per_parameter == pytest.approx(400 * 4096 / 1_392_768)
    assert summary.held_out is not None
    assert summary.held_out.gap == pytest.approx(6.2188 - 4.7312)
    assert (summary.mfu_full, summary.memory_gb) == (None, None)


def test_without_an_evaluation_the_last_validation_stands_in(project: Project) -> None:
    run = dataclasses.replace(read_run(project.run), perplexity=None)
    held_out = summarise(run).held_out
    assert held_out is not None
    assert (held_out.step, held_out.loss) == (400, project.validation[-1]["loss"])
    assert (held_out.unigram, held_out.gap) == (None, None)


def test_losses_that_are_not_finite_do_not_poison_the_mean(project: Project) -> None:
    run = read_run(project.run)
    run.train[-1]["loss"] = math.nan
    summary = summarise(run)
    assert summary.train_loss == pytest.approx(statistics.fmean(r["loss"] for r in project.train[-20:-1]))
    assert summary.train_loss_records == 19


def test_the_final_loss_of_a_short_run_is_the_mean_of_five_records(project: Project) -> None:
    run = read_run(project.run)
    run.train[:] = run.train[:40]
    assert summarise(run).train_loss == pytest.approx(statistics.fmean(r["loss"] for r in project.train[35:40]))


def test_a_run_without_metrics(project: Project) -> None:
    run = dataclasses.replace(read_run(project.run), train=[], validation=[], logged=[], perplexity=None)
    summary = summarise(run)
    assert (summary.train_loss, summary.tokens, summary.seconds, summary.held_out) == (None, None, None, None)
    assert summary.feeding is None


@pytest.mark.parametrize(
    ("parameters", "tokens", "ability", "feeding"),
    [
        (1_400_000, 1_600_000, "tiny", "starved"),
        (124e6, 1e9, "small", "short"),
        (350e6, 7e9, "medium", "fed"),
        (1.04e9, 26e9, "large", "fed"),
        (7e9, 1e12, "huge", "beyond"),
    ],
)
def test_the_sentence_follows_size_and_text(
    project: Project, parameters: float, tokens: float, ability: str, feeding: str
) -> None:
    run = read_run(project.run)
    run.environment["parameters"], run.train[-1]["tokens"] = parameters, tokens
    summary = summarise(run)
    assert (summary.ability, summary.feeding) == (ability, feeding)


def with_datasets(run: Run, *weights_and_tokens: tuple[float, int]) -> Run:
    def manifest(tokens: int) -> dict[str, Any]:
        return {"splits": {"train": {"tokens": tokens}}}

    datasets = [Dataset(f"d{i}", weight, manifest(size)) for i, (weight, size) in enumerate(weights_and_tokens)]
    return dataclasses.replace(run, datasets=datasets)


def test_passes_follow_the_weights_of_the_blend(project: Project) -> None:
    run = with_datasets(read_run(project.run), (3.0, 400_000), (1.0, 100_000))
    seen = 400 * 4096
    assert [passes_over(run, d) for d in run.datasets] == pytest.approx([0.75 * seen / 400_000, 0.25 * seen / 100_000])


def test_passes_over_a_dataset_that_is_gone(project: Project) -> None:
    run = read_run(project.run)
    assert passes_over(run, Dataset("gone", 1.0, None)) is None


@pytest.mark.parametrize(
    ("environment", "label"),
    [
        ({"device": "cpu", "world_size": 1}, "CPU"),
        ({"device": "NVIDIA H100 80GB HBM3", "world_size": 8}, "8 × NVIDIA H100 80GB HBM3"),
        ({}, None),
    ],
)
def test_device_labels(environment: dict[str, Any], label: str | None) -> None:
    assert device_label(environment) == label
