"""Benchmarks while a model is trained: its weights as they are, in memory, by lm-eval's rules.

The questions are read and tokenized at the start of a run, with the tokenizer that an export has, and asked every
`evaluation.every_steps`. Nothing of the training changes: random states, data and weights are what they were.
"""

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from checkpoints_tools.held_out import tokenizer_file
from checkpoints_tools.hf_folder import load_hf_tokenizer
from checkpoints_tools.hf_tokenizer import convert_tokenizer
from data_prep.manifest import read_manifest
from megatron_recipe import parallel
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.likelihoods import length_multiple, log_likelihoods, make_batches
from megatron_recipe.overlap import parameters_in_place


class InLoopEvaluation:
    """The benchmarks of a run, their questions tokenized and batched.

    Raises:
        DataError: questions that lm-eval cannot ask, or whose answers are longer than the model's sequences.
    """

    def __init__(self, config: Config, facts: DatasetFacts, ranks: parallel.Ranks) -> None:
        """facts: of the dataset whose tokenizer the model has."""
        from eval.requests import Encoder, build_questions
        from eval.suites import named

        self.ranks = ranks
        settings, length = config.evaluation, config.model.sequence_length_tokens
        with random_states_unchanged():
            encoder = Encoder(exported_tokenizer(facts), length)
            chosen = named(settings.tasks, "evaluation.tasks")
            self.questions = build_questions(chosen, Path(settings.data_dir), settings.limit, encoder)
        most, multiple = config.batch.micro_batch * length, length_multiple(config, ranks.device)
        self.batches = [make_batches(one.requests, most, multiple) for one in self.questions]

    def scores(self, model: list[Any], should_stop: Callable[[], bool]) -> dict[str, dict[str, Any]] | None:
        """Record of each benchmark by its name; None where it was asked to stop. All ranks call it.

        Raises EvaluationError where a rank failed.
        """
        found = {}
        with random_states_unchanged(), parameters_in_place(model):
            for one, batches in zip(self.questions, self.batches, strict=True):
                likelihoods = log_likelihoods(model, batches, len(one.requests), self.ranks, should_stop)
                if likelihoods is None:
                    return None
                found[one.benchmark.name] = one.score(likelihoods)
        return found


def exported_tokenizer(facts: DatasetFacts) -> Any:
    """The tokenizer of a dataset as an export of its models has it; it does not warn of long texts."""
    file = tokenizer_file(facts.folder, read_manifest(facts.folder))
    with tempfile.TemporaryDirectory() as folder:
        convert_tokenizer(file, Path(folder), eod_id=facts.eod_id, max_length=sys.maxsize)
        return load_hf_tokenizer(Path(folder))


@contextmanager
def random_states_unchanged() -> Iterator[None]:
    """Python's, numpy's and torch's generators are afterwards what they were."""
    python, numbers, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        torch.set_rng_state(cpu)
        if gpu is not None:
            torch.cuda.set_rng_state(gpu)
