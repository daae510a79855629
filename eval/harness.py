"""Scores of a model by lm-eval (github.com/EleutherAI/lm-evaluation-harness), on local files, benchmark by benchmark.

Run: megatron-recipe eval run MODEL --suite core --data-dir evalsets

Tasks, prompts, few-shot examples and metrics are lm-eval's own; where the questions come from is replaced. What is
done is in the result file after each benchmark, and is not done again for the same model, data and settings.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from checkpoints_tools.hf_folder import loading
from eval.local_data import LocalData, balanced
from eval.models import Evaluated
from eval.results import fingerprint, results_of, weights_of
from eval.suites import Benchmark
from megatron_recipe.console import say
from megatron_recipe.environment import environment_variable
from megatron_recipe.errors import ConfigError, DataError, MachineError, in_short
from megatron_recipe.files import write_json

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_MININTERVAL": "10",  # lm-eval's bars; in a log each of their steps is a line
}
INSTALLING = "pip install 'megatron-recipe[eval]'"
GROUP = "local"
CPU_BATCH = 8
"""lm-eval's search for the largest batch runs 64 windows of full length several times: minutes on a CPU."""


@dataclass(frozen=True)
class Settings:
    """How benchmarks are run."""

    data_dir: Path
    batch_size: str = "auto"
    limit: int | None = None
    """Questions of each task of lm-eval at most, the first ones; None takes all."""


class Harness:
    """lm-eval with one model; the model is loaded when the first benchmark needs it."""

    def __init__(self, model: Evaluated, settings: Settings) -> None:
        """Raises MachineError where lm-eval is not installed, ConfigError for a batch size that is none."""
        for package in ("lm_eval", "accelerate"):
            if find_spec(package) is None:
                raise MachineError(f"{package} is not installed; install lm-eval: {INSTALLING}")
        if settings.batch_size != "auto" and not (settings.batch_size.isdecimal() and int(settings.batch_size)):
            raise ConfigError(f"--batch-size={settings.batch_size} must be auto or a number from 1 on")
        self.model = model
        self.settings = settings
        self._loaded: Any = None

    def run(self, benchmark: Benchmark, data: LocalData) -> dict[str, Any]:
        """Score one benchmark; returns its entry of the result file, but for `key`."""
        from lm_eval import simple_evaluate

        if benchmark.per_answer is not None and self.settings.limit is not None:
            raise ConfigError(f"--limit does not go with {benchmark.name}, which is a part of its questions already")
        model = self._language_model()
        with quiet(), asking(benchmark, data):
            manager = task_manager(benchmark)
            leaves = build_tasks(benchmark, data, manager)
            found = simple_evaluate(
                model=model,
                tasks=[_group(benchmark, leaves)],
                task_manager=manager,
                num_fewshot=benchmark.shots,
                limit=self.settings.limit,
                samples=light_part(benchmark, data, leaves),
                log_samples=False,
            )
        return self._entry(benchmark, data, found, list(leaves))

    def _language_model(self) -> Any:
        """lm-eval's own model of the folder, loaded once."""
        if self._loaded is None:
            from lm_eval.models.huggingface import HFLM

            from eval.device import choose_device, evaluation_dtype

            device = choose_device()
            batch = self.settings.batch_size
            size = CPU_BATCH if batch == "auto" and device.type == "cpu" else batch
            with loading(self.model.folder):
                self._loaded = HFLM(
                    pretrained=str(self.model.folder.absolute()),
                    dtype=evaluation_dtype(device) or "auto",
                    device="cpu" if device.type == "cpu" else "cuda:0",
                    batch_size=size,
                )
        return self._loaded

    def _entry(self, benchmark: Benchmark, data: LocalData, found: Any, leaves: list[str]) -> dict[str, Any]:
        scores = found["groups"][GROUP] if benchmark.subjects else found["results"][benchmark.harness]
        error = scores[f"{benchmark.metric}_stderr,none"]
        return {
            "metric": benchmark.metric,
            "score": scores[f"{benchmark.metric},none"],
            "stderr": error if isinstance(error, float) else None,  # lm-eval's "N/A": one question has no spread
            "chance": benchmark.chance,
            "shots": benchmark.shots,
            "shots_as_in": benchmark.shots_as_in,
            "split": data.split,
            "questions": sum(found["n-samples"][leaf]["effective"] for leaf in leaves),
            "of": sum(found["n-samples"][leaf]["original"] for leaf in leaves),
            "metrics": _numbers(scores),
            "subjects": {leaf.removeprefix(benchmark.harness): _numbers(found["results"][leaf]) for leaf in leaves}
            if benchmark.subjects
            else {},
        }


def run_benchmarks(model: Evaluated, chosen: list[Benchmark], settings: Settings, out: Path) -> dict[str, Any]:
    """Score a model on benchmarks and keep the result in `out`, after each of them; returns what `out` holds.

    Raises DataError, before anything runs, that names every benchmark whose files are missing.
    """
    data = find_data(chosen, settings.data_dir)
    result = results_of(model, out)
    done: dict[str, Any] = result.get("tasks", {})
    with ExitStack() as stack:
        for name, value in ENVIRONMENT.items():
            stack.enter_context(environment_variable(name, value))
        harness = Harness(model, settings)
        for benchmark in chosen:
            key = fingerprint(model, benchmark, data[benchmark.name], settings.limit)
            if done.get(benchmark.name, {}).get("key") == key:
                say(f"{benchmark.name}: done before")
                continue
            say(f"{benchmark.name}: {benchmark.shots}-shot on split {data[benchmark.name].split}")
            began = time.monotonic()
            entry = harness.run(benchmark, data[benchmark.name])
            done[benchmark.name] = {**entry, "seconds": round(time.monotonic() - began, 1), "key": key}
            result = {**model.facts, "weights": weights_of(model), **_circumstances(), "tasks": done}
            write_json(out, result)
    return result


def find_data(chosen: list[Benchmark], data_dir: Path) -> dict[str, LocalData]:
    """The files of each benchmark. Raises DataError that names all that are missing."""
    found, missing = {}, []
    for benchmark in chosen:
        try:
            found[benchmark.name] = LocalData(benchmark, data_dir)
        except DataError as error:
            missing.append(str(error))
    if missing:
        raise DataError("\n".join(missing))
    return found


@contextmanager
def asking(benchmark: Benchmark, data: LocalData) -> Iterator[None]:
    """Turn lm-eval's failure over questions that lack what its prompts need into a DataError."""
    from jinja2 import UndefinedError

    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, UndefinedError) as error:
        raise DataError(
            f"{benchmark.name}: lm-eval cannot ask the questions in {data.folder}, split {data.split} "
            f"({in_short(error)}); `megatron-recipe eval download {benchmark.name}` fetches them anew; if they are "
            "whole, the model's tokenizer may not fit its weights"
        ) from error


def task_manager(benchmark: Benchmark) -> Any:
    """lm-eval's index of the tasks in a benchmark's folder."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    folder = Path(lm_eval.__file__).parent / "tasks" / benchmark.folder
    return TaskManager(include_path=str(folder), include_defaults=False)


def light_part(benchmark: Benchmark, data: LocalData, names: Iterable[str]) -> dict[str, list[int]] | None:
    """The questions of each of lm-eval's tasks where the benchmark is a part of them; None where it is all."""
    if benchmark.per_answer is None:
        return None
    chosen = {}
    for name in names:
        rows = data.rows(data.split, name.removeprefix(benchmark.harness))
        chosen[name] = balanced([row["answer"] for row in rows], benchmark.per_answer)
    return chosen


def build_tasks(benchmark: Benchmark, data: LocalData, manager: Any) -> dict[str, Any]:
    """lm-eval's tasks of a benchmark by name, as its YAML files describe them, but with questions from local files."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    tasks = {}
    for name in task_names(benchmark, manager):
        config = load_yaml(manager.task_index[name].yaml_path)
        config.pop("tag", None)  # of the registry, not of a task
        subject = name.removeprefix(benchmark.harness) if benchmark.subjects else None
        changes = {
            "custom_dataset": _loader(data, subject),
            "training_split": None,
            "validation_split": None,
            "test_split": data.split,
            "fewshot_split": benchmark.examples,
        }
        tasks[name] = ConfigurableTask(config={**config, **changes})
    return tasks


def task_names(benchmark: Benchmark, manager: Any) -> list[str]:
    """lm-eval's task of a benchmark, or its task for each subject."""
    if not benchmark.subjects:
        return [benchmark.harness]
    return sorted(name for name in manager.all_subtasks if name.startswith(benchmark.harness))


def _loader(data: LocalData, subject: str | None) -> Any:
    def load(**_: Any) -> dict[str, Any]:
        from datasets import Dataset

        return {split: Dataset.from_list(data.rows(split, subject)) for split in data.splits}

    return load


def _group(benchmark: Benchmark, leaves: dict[str, Any]) -> Any:
    """The tasks as one, whose score is the mean over all questions."""
    from lm_eval.api.group import Group

    mean = {"metric": benchmark.metric, "aggregation": "mean", "weight_by_size": True}
    group = Group.from_config({"group": GROUP, "aggregate_metric_list": [mean]})
    for task in leaves.values():
        group.add(task)
    return group


def _numbers(scores: dict[str, Any]) -> dict[str, float]:
    """acc, acc_stderr, acc_norm, … of lm-eval's "acc,none", "acc_stderr,none", …"""
    return {
        name.removesuffix(",none"): value for name, value in scores.items() if isinstance(value, float) and "," in name
    }


def _circumstances() -> dict[str, Any]:
    from importlib.metadata import version

    from eval.device import choose_device, device_name

    return {
        "lm_eval": version("lm-eval"),
        "device": device_name(choose_device()),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


@contextmanager
def quiet() -> Iterator[None]:
    """lm-eval warns once for each of 57 subjects about what is meant here, and so does each of their data sets."""
    from datasets import disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
        logger.setLevel(level)
