"""Continuations of random tokens to be judged by a model of `direct_steps`, in this process or in several."""

import random
from dataclasses import dataclass

import torch
from direct_steps import MICRO_BATCH, VOCAB, DirectRun

from megatron_recipe import parallel
from megatron_recipe.likelihoods import LikelihoodBatch, length_multiple, log_likelihoods, make_batches
from megatron_recipe.overlap import parameters_in_place


@dataclass(frozen=True)
class Continuation:
    tokens: tuple[int, ...]
    scored: int


def continuations() -> list[Continuation]:
    """Thirty of different lengths, ten of which differ from another in the last token alone; and every next token."""
    draw = random.Random(0)
    first = [
        Continuation(tuple(draw.choices(range(VOCAB), k=draw.randint(8, 65))), draw.randint(1, 7)) for _ in range(20)
    ]
    others = [Continuation((*one.tokens[:-1], one.tokens[-1] ^ 1), one.scored) for one in first[::2]]
    return first + others + [Continuation((5, 6, 7, token), 1) for token in range(VOCAB)]  # one of which is greedy


def batches_of(run: DirectRun) -> list[LikelihoodBatch]:
    """The batches that all ranks of a run share."""
    most = MICRO_BATCH * run.config.model.sequence_length_tokens
    return make_batches(continuations(), most, length_multiple(run.config, run.device))


def judged(run: DirectRun, ranks: parallel.Ranks) -> list[tuple[float, bool]] | None:
    """What the model of `run` thinks of them."""
    with parameters_in_place(run.model):
        return log_likelihoods(run.model, batches_of(run), len(continuations()), ranks, lambda: False)


def one_by_one(run: DirectRun) -> list[tuple[float, bool]]:
    """The same by the plain model: each sequence alone, without filling."""
    found = []
    for one in continuations():
        tokens = torch.tensor([one.tokens], device=run.device)
        with torch.no_grad():
            positions = torch.arange(tokens.shape[1] - 1, device=run.device).unsqueeze(0)
            logits = run.model[0](tokens[:, :-1], positions, attention_mask=None)
        log_p, targets = logits[0].float().log_softmax(-1)[-one.scored :], tokens[0, -one.scored :]
        total = float(log_p.gather(-1, targets.unsqueeze(-1)).sum())
        found.append((total, bool((log_p.argmax(-1) == targets).all())))
    return found
