"""Log-likelihoods of continuations by the model that is being trained, in any of its layouts.

Forward passes through Megatron's own schedules: batches are shared out over the data-parallel ranks, pipeline stages
hand over as in training, and each tensor-parallel rank keeps its part of the vocabulary. A batch has no more tokens
than a micro-batch of training, so that whatever can be trained can be evaluated.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from megatron_recipe import parallel
from megatron_recipe.agreement import agree
from megatron_recipe.config import Config

SCORED_AT_ONCE = 1024
"""Tokens whose logits are turned into FP32 at once: 260 MB with a vocabulary of 64,000."""


class Continuation(Protocol):
    """What is judged: `tokens` are context and continuation, `scored` the number of the latter's."""

    @property
    def tokens(self) -> tuple[int, ...]: ...
    @property
    def scored(self) -> int: ...


class EvaluationError(Exception):
    """A rank failed while it evaluated; all ranks raise it together."""


@dataclass(frozen=True)
class LikelihoodBatch:
    """One forward pass."""

    tokens: Tensor
    """[sequences, length], filled up at their ends."""
    places: Tensor
    """[scored], positions of the flattened tokens whose next token is judged."""
    targets: Tensor
    """[scored], those next tokens."""
    requests: Tensor
    """[scored], the request that each belongs to."""


def length_multiple(config: Config, device: torch.device) -> int:
    """What lengths are rounded up to: FP8 wants blocks of 128, kernels few shapes, sequence parallelism its ranks."""
    return math.lcm(128 if device.type == "cuda" else 16, config.parallel.tensor)


def make_batches(requests: Sequence[Continuation], most_tokens: int, multiple: int) -> list[LikelihoodBatch]:
    """Batches of similar lengths, the longest first.

    What differs in its last token alone (the letters of a choice) is read once. most_tokens: of a batch, with filling;
    a batch has one sequence at least.
    """
    readings: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        readings[request.tokens[:-1]].append(number)
    order = sorted(readings, key=lambda reading: (-len(reading), reading))
    batches, first = [], 0
    while first < len(order):
        length = -(-len(order[first]) // multiple) * multiple
        rows = order[first : first + max(1, most_tokens // length)]
        batches.append(_batch(rows, length, readings, requests))
        first += len(rows)
    return batches


def _batch(
    rows: list[tuple[int, ...]], length: int, readings: dict[tuple[int, ...], list[int]], requests: Sequence[Any]
) -> LikelihoodBatch:
    tokens = torch.zeros(len(rows), length, dtype=torch.int64)
    scored: list[tuple[int, int, int]] = []
    for row, reading in enumerate(rows):
        tokens[row, : len(reading)] = torch.tensor(reading)
        for number in readings[reading]:
            request = requests[number]
            first = len(reading) - request.scored
            scored += [
                (row * length + first + index, target, number)
                for index, target in enumerate(request.tokens[-request.scored :])
            ]
    places, targets, numbers = torch.tensor(scored, dtype=torch.int64).unbind(1)
    return LikelihoodBatch(tokens, places, targets, numbers)


def log_likelihoods(
    model: list[Any],
    batches: Sequence[LikelihoodBatch],
    count: int,
    ranks: parallel.Ranks,
    should_stop: Callable[[], bool],
) -> list[tuple[float, bool]] | None:
    """For each of `count` requests the log-probability of its continuation, in nats, and whether it is greedy.

    All ranks call it with the same batches and get the same answer: None where `should_stop` was true on a rank.
    Weights must be in place (`overlap.parameters_in_place`); modules are in training mode again afterwards.

    Raises:
        EvaluationError: something failed, on this rank or on another.
    """
    sums = torch.zeros(count, dtype=torch.float64, device=ranks.device)
    misses = torch.zeros(count, dtype=torch.float64, device=ranks.device)
    for chunk in model:
        chunk.eval()
    try:
        for first in range(0, len(batches), ranks.data_size):
            problem: Exception | None = None
            try:
                if first + ranks.data_rank < len(batches):
                    _read(model, batches[first + ranks.data_rank], sums, misses)
            except Exception as error:
                problem = error
            stop, failed = agree(float(should_stop()), float(problem is not None))
            if failed:
                reason = f"{type(problem).__name__}: {problem}" if problem else "another rank failed"
                raise EvaluationError(reason) from problem
            if stop:
                return None
    finally:
        for chunk in model:
            chunk.train()
    parallel.sum_over_data_and_pipeline(sums)
    parallel.sum_over_data_and_pipeline(misses)
    return [(total, not missed) for total, missed in zip(sums.tolist(), misses.tolist(), strict=True)]


def _read(model: list[Any], batch: LikelihoodBatch, sums: Tensor, misses: Tensor) -> None:
    """Add a batch's numbers to those of its requests; on the last pipeline stage, others add nothing."""
    device = sums.device
    tokens, places, targets = (one.to(device) for one in (batch.tokens, batch.places, batch.targets))

    def judge(logits: Tensor, non_loss_data: bool) -> tuple[Tensor, Tensor]:
        return token_likelihoods(logits.flatten(0, 1), places, targets)

    def step(_: Any, chunk: Any) -> Any:
        positions = torch.arange(tokens.shape[1], device=device).expand_as(tokens)
        return chunk(tokens, positions, attention_mask=None), judge

    with torch.no_grad():
        outputs = get_forward_backward_func()(
            forward_step_func=step,
            data_iterator=None,
            model=model,
            num_microbatches=1,
            seq_length=tokens.shape[1],
            micro_batch_size=tokens.shape[0],
            forward_only=True,
            collect_non_loss_data=True,
        )
    for likelihoods, is_greedy in outputs:
        numbers = batch.requests.to(device)
        sums.index_add_(0, numbers, likelihoods.double())
        misses.index_add_(0, numbers, (~is_greedy).double())
        sums.sum().item()  # waits for the GPU, so that a request to stop is heard after this batch and not after all


def token_likelihoods(logits: Tensor, places: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of some tokens, in FP32, and whether each is the likeliest (the first of equals).

    logits: [positions, vocabulary / tensor-parallel ranks], this rank's columns. places, targets: [scored].
    """
    parts = [
        _part_likelihoods(logits[place].float(), target)
        for place, target in zip(places.split(SCORED_AT_ONCE), targets.split(SCORED_AT_ONCE), strict=True)
    ]
    return torch.cat([likelihood for likelihood, _ in parts]), torch.cat([greedy for _, greedy in parts])


def _part_likelihoods(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    columns = logits.shape[-1]
    first = parallel_state.get_tensor_model_parallel_rank() * columns
    own_highest, own_best = logits.max(-1)
    highest = _over_columns(own_highest.clone(), dist.ReduceOp.MAX)
    normalizer = _over_columns((logits - highest.unsqueeze(-1)).exp().sum(-1), dist.ReduceOp.SUM).log()
    local = targets - first
    is_here = (local >= 0) & (local < columns)
    values = logits.gather(-1, local.clamp(0, columns - 1).unsqueeze(-1)).squeeze(-1)
    values = _over_columns(torch.where(is_here, values - highest, 0.0), dist.ReduceOp.SUM)
    nowhere = torch.iinfo(torch.int64).max
    best = _over_columns(torch.where(own_highest == highest, own_best + first, nowhere), dist.ReduceOp.MIN)
    return values - normalizer, best == targets


def _over_columns(values: Tensor, operation: Any) -> Tensor:
    """Reduce over the ranks that share the vocabulary."""
    if parallel_state.get_tensor_model_parallel_world_size() > 1:
        dist.all_reduce(values, op=operation, group=parallel_state.get_tensor_model_parallel_group())
    return values
