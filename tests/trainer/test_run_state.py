"""The counters of a run: what a checkpoint keeps of them is all of them."""

import json
from dataclasses import fields

from megatron_recipe.run_state import RunState


def counted() -> RunState:
    """A state in which no field has its first value."""
    state = RunState(7, 112, 144, 28_672, 9.5, 2.25, [3.5, 3.25], [1.5, 1.25])
    first = RunState()
    assert all(getattr(state, entry.name) != getattr(first, entry.name) for entry in fields(RunState))
    return state


def test_a_state_comes_back_as_it_was():
    restored = RunState()
    restored.load_state_dict(counted().state_dict())
    assert restored == counted()


def test_a_state_holds_plain_values_that_json_keeps():
    state = counted()
    restored = RunState()
    restored.load_state_dict(json.loads(json.dumps(state.state_dict())))
    assert restored == state


def test_what_is_saved_does_not_change_while_training_goes_on():
    state = counted()
    saved = state.state_dict()
    state.step += 1
    state.losses.append(9.0)
    state.grad_norms.clear()
    assert saved == counted().state_dict()


def test_what_was_loaded_is_a_copy():
    saved = counted().state_dict()
    state = RunState()
    state.load_state_dict(saved)
    state.losses.append(9.0)
    assert saved == counted().state_dict()


def test_the_values_of_an_older_checkpoint_leave_newer_counters_at_their_start():
    state = RunState()
    state.load_state_dict({"step": 3, "samples": 48})
    assert state == RunState(step=3, samples=48)


def test_the_facts_of_a_marker_are_the_counters_without_the_windows():
    assert counted().facts() == {
        "step": 7, "samples": 112, "position": 144, "tokens": 28_672, "seconds": 9.5, "best_loss": 2.25,
    }  # fmt: skip
