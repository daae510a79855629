"""The questions of benchmarks as token sequences, built once, and the scores that a model's log-likelihoods make.

For a model that is in memory, such as one that is being trained. What is asked, how it is tokenized and cut, and what
the score is are lm-eval's; the arithmetic of the model is left to who has it.
"""

import contextlib
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.metrics import aggregate_subtask_metrics, mean, mean_stderr, pooled_sample_stderr
from lm_eval.api.model import TemplateLM

from eval.harness import ENVIRONMENT, build_tasks, find_data, light_part, quiet, task_manager
from eval.local_data import LocalData
from eval.suites import Benchmark
from megatron_recipe.environment import environment_variable
from megatron_recipe.errors import DataError

FEW_SHOT_SEED = 1234
"""lm-eval's own, of the worked examples that are drawn."""

Likelihood = tuple[float, bool]
"""Log-probability of a continuation in nats, and whether it is what greedy decoding would say."""


@dataclass(frozen=True)
class Request:
    """A continuation to be judged after its context."""

    tokens: tuple[int, ...]
    """Context and continuation; the model reads all but the last."""
    scored: int
    """Tokens of the continuation, at the end."""


class Encoder(TemplateLM):
    """lm-eval's rules of how context and continuation become tokens; what a model would compute is left out.

    `tok_encode` and `prefix_token_id` are those of lm-eval's own Hugging Face model (lm_eval/models/huggingface.py).
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        super().__init__()
        self.tokenizer, self.max_length = tokenizer, max_length
        self.found: list[Request] = []

    def requests(self, instances: Sequence[Any]) -> list[Request]:
        """The token sequences of lm-eval's instances, in their order."""
        self.found = []
        self.loglikelihood(list(instances), disable_tqdm=True)
        return self.found

    @property
    def eot_token_id(self) -> int:
        """The token that ends a document."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The context of a continuation without one."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids of a text; one that spells the beginning token does not get another."""
        if add_special_tokens is None and string.startswith(self.tokenizer.decode(self.prefix_token_id)):
            add_special_tokens = False
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        ids: list[int] = self.tokenizer.encode(string, **options)
        return ids

    def _loglikelihood_tokens(self, requests: Iterable[Any], **_: Any) -> list[Likelihood]:
        for texts, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise DataError(
                    f"the answer {texts[1][:60]!r}… has {len(continuation)} tokens, more than the model reads at once, "
                    f"model.sequence_length_tokens={self.max_length}; leave this benchmark out or ask fewer questions"
                )
            # a context that is too long loses its beginning
            tokens = (context + continuation)[-(self.max_length + 1) :]
            self.found.append(Request(tuple(tokens), len(continuation)))
        return [(0.0, False)] * len(self.found)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """No benchmark here asks for it."""
        raise NotImplementedError

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """No benchmark here asks for it."""
        raise NotImplementedError


class Questions:
    """The questions of one benchmark, tokenized; `score` may be called again and again."""

    def __init__(self, benchmark: Benchmark, tasks: dict[str, Any], encoder: Encoder) -> None:
        """tasks: of lm-eval, their requests built."""
        self.benchmark, self.tasks = benchmark, tasks
        self._instances = [instance for task in tasks.values() for instance in task.instances]
        self.requests = encoder.requests(self._instances)

    def score(self, likelihoods: Sequence[Likelihood]) -> dict[str, Any]:
        """What a record of metrics.jsonl holds, from the likelihood of each request.

        The metrics of lm-eval with the error of each (None where there are too few questions); of a benchmark with
        subjects its main metric over all questions.
        """
        for instance, likelihood in zip(self._instances, likelihoods, strict=True):
            instance.resps, instance.filtered_resps = [likelihood], {}
        found = [task_metrics(task) for task in self.tasks.values()]
        metric, sizes = self.benchmark.metric, [one["questions"] for one in found]
        if self.benchmark.subjects:
            errors = [one[f"{metric}_stderr"] for one in found]
            numbers = {
                metric: aggregate_subtask_metrics([one[metric] for one in found], sizes),
                f"{metric}_stderr": None if None in errors else float(pooled_sample_stderr(errors, sizes)),
            }
        else:
            (numbers,) = found
        return {**numbers, "metric": metric, "chance": self.benchmark.chance, "questions": sum(sizes)}


def task_metrics(task: Any) -> dict[str, Any]:
    """Means over the questions of one of lm-eval's tasks that has its responses, their errors, and `questions`."""
    task.apply_filters()
    of_question = defaultdict(list)
    for instance in task.instances:
        of_question[instance.doc_id].append(instance)
    values = defaultdict(list)
    for instances in of_question.values():
        instances.sort(key=lambda instance: instance.idx)
        (name,) = instances[0].filtered_resps
        responses = [instance.filtered_resps[name] for instance in instances]
        for metric, value in task.process_results(instances[0].doc, responses).items():
            values[metric].append(value)
    numbers: dict[str, Any] = {}
    for metric, items in values.items():
        aggregate = task.aggregation()[metric]
        numbers[metric] = float(aggregate(items))
        if aggregate is mean:
            numbers[f"{metric}_stderr"] = float(mean_stderr(items)) if len(items) > 1 else None
    finite = {metric: value for metric, value in numbers.items() if value is None or math.isfinite(value)}
    return {**finite, "questions": len(of_question)}


def build_questions(
    chosen: Sequence[Benchmark], data_dir: Path, limit: int | None, encoder: Encoder
) -> list[Questions]:
    """Read and tokenize the questions of benchmarks from local files.

    limit: first questions of each of lm-eval's tasks; None takes all. A light benchmark is a part already.
    Raises DataError for files that are missing or are not what lm-eval expects.
    """
    found = []
    with ExitStack() as stack:
        for name, value in ENVIRONMENT.items():
            stack.enter_context(environment_variable(name, value))
        stack.enter_context(quiet())
        for benchmark, data in zip(chosen, find_data(list(chosen), data_dir).values(), strict=True):
            try:
                found.append(Questions(benchmark, built_tasks(benchmark, data, limit), encoder))
            except DataError as error:
                raise DataError(f"{benchmark.name}: {error}") from error
            except Exception as error:  # lm-eval's tasks raise whatever a strange row makes them raise
                reason = f"{type(error).__name__}: {error}"
                raise DataError(
                    f"{benchmark.name}: the questions in {data.folder} cannot be asked ({reason}); "
                    "leave this benchmark out, or fetch its files again with `megatron-recipe eval download`"
                ) from error
    return found


def built_tasks(benchmark: Benchmark, data: LocalData, limit: int | None) -> dict[str, Any]:
    """lm-eval's tasks of a benchmark with their requests, set up as its `simple_evaluate` does."""
    tasks = build_tasks(benchmark, data, task_manager(benchmark))
    part = light_part(benchmark, data, tasks)
    for name, task in tasks.items():
        if task.get_config("num_fewshot") != 0:  # a task that says 0 has no use for examples
            task.set_config(key="num_fewshot", value=benchmark.shots)
        task.set_fewshot_seed(seed=FEW_SHOT_SEED)
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar for each task
            task.build_all_requests(limit=None if part else limit, samples=part[name] if part else None)
    return tasks
