"""Log-likelihoods by a model that is being trained: right, in batches that fit, and without a trace in the training."""

import pytest
import torch
from continuations import batches_of, continuations, judged, one_by_one
from direct_steps import DirectRun, small_config

from megatron_recipe.likelihoods import EvaluationError, log_likelihoods, make_batches, token_likelihoods
from megatron_recipe.parallel import Ranks

ONE_RANK = Ranks(0, 1, 0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def direct(module_groups: None) -> DirectRun:
    run = DirectRun(small_config())
    run.steps(3)
    return run


def test_batches_change_nothing(direct):
    found, expected = judged(direct, ONE_RANK), one_by_one(direct)
    assert [total for total, _ in found] == pytest.approx([total for total, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert len({round(total, 3) for total, _ in found[:30]}) == 30
    assert sum(greedy for _, greedy in found[30:]) == 1


def test_batches_hold_a_micro_batch_of_tokens_and_read_a_context_once(direct):
    batches = batches_of(direct)
    assert sum(len(batch.tokens) for batch in batches) == 21  # of 286 continuations
    assert all(batch.tokens.numel() <= 2 * 64 and batch.tokens.shape[1] % 16 == 0 for batch in batches)
    assert len(batches) < 21
    # one that is longer than all of it has a batch of its own
    assert [len(batch.tokens) for batch in make_batches(continuations()[:2], 8, 16)] == [1, 1]


def test_what_would_be_said_is_the_first_of_equals(module_groups):
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0]]).repeat(3, 1)
    likelihoods, greedy = token_likelihoods(logits, torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3]))
    assert greedy.tolist() == [True, False, False]
    assert likelihoods.tolist() == pytest.approx(logits.log_softmax(-1)[0, [1, 2, 3]].tolist())


def test_training_is_bit_for_bit_what_it_is_without(module_groups):
    runs = [DirectRun(small_config()) for _ in range(2)]
    for run in runs:
        run.steps(2)
    random_state = torch.get_rng_state()
    judged(runs[0], ONE_RANK)
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(chunk.training for chunk in runs[0].model)
    assert runs[0].steps(2) == runs[1].steps(2)
    first, second = (run.weights() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_request_to_stop_is_heard_after_a_batch(direct):
    asked = iter([False, True])
    batches = batches_of(direct)
    assert log_likelihoods(direct.model, batches, len(continuations()), ONE_RANK, lambda: next(asked)) is None
    assert next(asked, None) is None
    assert all(chunk.training for chunk in direct.model)


def test_a_failure_is_an_error_of_its_own(direct, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(direct.model[0], "forward", fail)
    with pytest.raises(EvaluationError, match="RuntimeError: no memory left"):
        judged(direct, ONE_RANK)
    assert all(chunk.training for chunk in direct.model)
