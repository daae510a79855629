"""Benchmarks while a model is trained: the scores are those of its export, and the training does not know of them."""

import json
import random
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from direct_steps import DirectRun
from flows import events, trained
from questions import SUBJECTS, write_questions
from small_runs import arguments, records

from megatron_recipe import recording
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.errors import DataError
from megatron_recipe.in_loop_evaluation import InLoopEvaluation, random_states_unchanged
from megatron_recipe.initial_weights import take_initial_weights
from megatron_recipe.likelihoods import EvaluationError
from megatron_recipe.parallel import Ranks
from megatron_recipe.preemption import StopRequest
from megatron_recipe.recipes import load_config
from megatron_recipe.train import is_interrupted

pytest.importorskip("lm_eval.models.huggingface", reason="the extra `eval` is not installed")

from eval import harness
from eval.models import Evaluated
from eval.suites import benchmarks

ONE_RANK = Ranks(0, 1, 0, 1, torch.device("cpu"))
TASKS = ("arc_easy", "hellaswag", "lambada")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_questions(tmp_path_factory.mktemp("evalsets"))


@pytest.fixture(scope="module")
def evaluated_run(dataset: Path, half_run: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`half_run` continued to step 10, with an evaluation at each second step, and without readings of the model."""
    folder = Path(shutil.copytree(half_run, tmp_path_factory.mktemp("evaluated") / "run"))
    wanted = (
        "evaluation.every_steps=2",
        f"evaluation.tasks=[{', '.join(TASKS)}]",
        f"evaluation.data_dir={data_dir}",
        "evaluation.limit=20",
        "logging.model_readings=false",
    )
    said = trained(folder, "gpt_tiny_cpu", *arguments(dataset, folder, "train.stop_at_step=10", *wanted))
    assert "step 8: arc_easy acc_norm" in said
    return folder


@pytest.fixture(scope="module")
def exported(evaluated_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    from checkpoints_tools.to_hf import export_run

    folder = tmp_path_factory.mktemp("exported") / "model"
    export_run(evaluated_run, folder, compare=False)
    return Evaluated(folder, folder)


@pytest.mark.slow
def test_training_is_bit_for_bit_what_it_is_without(evaluated_run, resumed_run):
    for field in ("loss", "grad_norm", "learning_rate", "position"):
        values = [[record[field] for record in records(run, "train")] for run in (evaluated_run, resumed_run)]
        assert values[0] == values[1], field
    assert "update_ratio" in records(resumed_run, "train")[-1]  # which reads its model: that changes nothing either
    assert "update_ratio" not in records(evaluated_run, "train")[-1]
    assert events(evaluated_run, "evaluation_failed") == []


@pytest.mark.slow
def test_recorded_scores_are_those_that_lm_eval_gives_the_export(evaluated_run, exported, data_dir, tmp_path):
    settings = harness.Settings(data_dir, batch_size="7", limit=20)
    chosen = [benchmarks()[name] for name in TASKS]
    expected = harness.run_benchmarks(exported, chosen, settings, tmp_path / "out.json")["tasks"]
    for name in TASKS:
        found = records(evaluated_run, f"eval/{name}")
        assert [record["step"] for record in found] == [6, 8, 10]
        last, metrics = found[-1], expected[name]["metrics"]
        metrics.pop("perplexity_stderr", None)  # by resampling
        assert {metric: last[metric] for metric in metrics} == pytest.approx(metrics, rel=1e-4)
        assert last["questions"] == expected[name]["questions"] == 20
        assert last[last["metric"]] == expected[name]["score"]
        assert last["chance"] == benchmarks()[name].chance


def in_memory(run: Path, dataset: Path, data_dir: Path, *tasks: str) -> tuple[DirectRun, InLoopEvaluation]:
    """The model of a run's newest checkpoint, in this process, and an evaluation of it."""
    overrides = (
        f"train.init_from={run}",
        "evaluation.every_steps=1",
        f"evaluation.tasks=[{', '.join(tasks)}]",
        f"evaluation.data_dir={data_dir}",
    )
    config = configured(dataset, *overrides)
    facts = read_dataset_facts(dataset)
    direct = DirectRun(config)
    take_initial_weights(direct.training, config, ONE_RANK)
    return direct, InLoopEvaluation(config, facts, ONE_RANK)


def configured(dataset: Path, *overrides: str) -> Config:
    words = [str(word) for word in arguments(dataset, Path("unused"), *overrides)]
    return load_config("gpt_tiny_cpu", tuple(words[3::2]))


@pytest.mark.slow
def test_each_likelihood_and_a_benchmark_of_subjects(
    evaluated_run, exported, dataset, data_dir, tmp_path, monkeypatch, module_groups
):
    names = [f"mmlu_{subject}" for subject in SUBJECTS]
    whole = harness.task_names
    monkeypatch.setattr(harness, "task_names", lambda one, manager: names if one.subjects else whole(one, manager))
    monkeypatch.setattr("direct_steps.VOCAB", 500)
    direct, evaluation = in_memory(evaluated_run, dataset, data_dir, "mmlu", "hellaswag", "lambada")
    monkeypatch.setattr("megatron_recipe.in_loop_evaluation.log_likelihoods", kept := Kept())
    scores = evaluation.scores(direct.model, lambda: False)
    lm = harness.Harness(exported, harness.Settings(data_dir, batch_size="4"))._language_model()
    for questions, found in zip(evaluation.questions, kept.found, strict=True):
        instances = [instance for task in questions.tasks.values() for instance in task.instances]
        expected = lm.loglikelihood(instances, disable_tqdm=True)
        assert len(found) == len(expected) > 20
        assert [total for total, _ in found] == pytest.approx([total for total, _ in expected], abs=1e-4)
        assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert max(len(request.tokens) for request in evaluation.questions[0].requests) == 65  # cut to what can be read
    settings = harness.Settings(data_dir, batch_size="4")
    (mmlu,) = harness.run_benchmarks(exported, [benchmarks()["mmlu"]], settings, tmp_path / "out.json")[
        "tasks"
    ].values()
    assert scores["mmlu"]["acc"] == pytest.approx(mmlu["score"])
    assert scores["mmlu"]["acc_stderr"] == pytest.approx(mmlu["stderr"])
    assert scores["mmlu"]["questions"] == 24


class Kept:
    """`log_likelihoods`, with what it returned kept."""

    def __init__(self) -> None:
        from megatron_recipe.likelihoods import log_likelihoods

        self.function, self.found = log_likelihoods, []

    def __call__(self, *arguments: Any) -> Any:
        self.found.append(self.function(*arguments))
        return self.found[-1]


def test_an_answer_that_is_longer_than_the_model_reads_is_refused(dataset, tmp_path, module_groups):
    write_questions(tmp_path)
    file = tmp_path / "arc_easy/test.jsonl"
    row = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    row["choices"]["text"][1] = "训练 " * 60
    file.write_text(json.dumps(row), encoding="utf-8")
    overrides = ("evaluation.every_steps=1", "evaluation.tasks=[arc_easy]", f"evaluation.data_dir={tmp_path}")
    with pytest.raises(DataError, match=r"(?s)arc_easy: the answer .*… has \d+ tokens, more than .*_tokens=64"):
        InLoopEvaluation(configured(dataset, *overrides), read_dataset_facts(dataset), ONE_RANK)
    file.write_text(json.dumps({"question": "no choices"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"arc_easy: .*'choices' is undefined"):
        InLoopEvaluation(configured(dataset, *overrides), read_dataset_facts(dataset), ONE_RANK)


@pytest.mark.parametrize(
    ("asked", "limit", "share", "is_first", "expected"),
    [
        (None, 0, None, True, False),
        ("SIGTERM", 0, None, False, True),
        (None, 100, None, False, True),  # of which 50 are kept back for a first save
        (None, 10_000, None, False, False),
        (None, 0, 0.99, True, False),
        (None, 0, 1.0, True, True),
        (None, 0, 1.0, False, False),  # the first rank's clock counts
    ],
)
def test_what_breaks_an_evaluation_off(asked, limit, share, is_first, expected):
    stop = StopRequest(time.monotonic() - 60, limit)
    stop.reason = asked
    marks, beats = [], []
    run = SimpleNamespace(
        mark_time=lambda: marks.append(1),
        observation=SimpleNamespace(messenger=SimpleNamespace(beat=lambda: beats.append(1))),
        config=SimpleNamespace(train=SimpleNamespace(time_limit_seconds=limit)),
        writer=SimpleNamespace(last_seconds=0.0),
        validation_seconds=0.0,
        clock=None if share is None else SimpleNamespace(share=lambda step_seconds: share),
        ranks=SimpleNamespace(is_first=is_first),
    )
    assert is_interrupted(run, stop) is expected
    assert marks == beats == [1]


def test_random_states_are_what_they_were():
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    first = drawn()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    with pytest.raises(KeyError), random_states_unchanged():
        drawn()
        raise KeyError
    assert drawn() == first


class ScoresStub:
    """An evaluation that ends in a way of its own."""

    def __init__(self, end: Any) -> None:
        self.end = end

    def scores(self, model: object, should_stop: object) -> Any:
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


@pytest.mark.parametrize(
    ("end", "said", "happened", "at"),
    [
        (EvaluationError("OutOfMemoryError: 3 GB"), "warning: no benchmark scores of step 7: OutOf", 1, 7),
        (None, "step 7: the evaluation is broken off", 0, -1),
    ],
)
def test_a_run_goes_on_without_scores(end, said, happened, at):
    from contextlib import nullcontext

    told, happenings = [], []
    run = SimpleNamespace(
        evaluation=ScoresStub(end),
        state=SimpleNamespace(step=7),
        observation=SimpleNamespace(long_work=nullcontext),
        training=SimpleNamespace(model=[]),
        evaluated_step=-1,
        event=lambda name, **facts: happenings.append((name, facts)),
        say=told.append,
    )
    recording.evaluate(run, lambda: False)
    assert told[0].startswith(said) and run.evaluated_step == at
    assert [name for name, _ in happenings] == ["evaluation_failed"] * happened
