"""Which validation is the best so far, and what is said of a save that failed."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from megatron_recipe.checkpoint_writer import Saved
from megatron_recipe.recording import improves, note_saved


@pytest.mark.parametrize(
    ("loss", "best", "is_better"),
    [
        (3.0, None, True),
        (2.9, 3.0, True),
        (3.0, 3.0, False),
        (3.1, 3.0, False),
        (None, None, False),
        (math.nan, None, False),
        (math.nan, 3.0, False),
        (math.inf, None, False),
    ],
)
def test_a_loss_that_is_no_number_is_never_the_best(loss, best, is_better):
    assert improves(loss, best) is is_better


@pytest.mark.parametrize(
    ("saved_step", "rest"),
    [(5, "the older ones are whole"), (-1, "nothing is saved yet: a stop now loses everything")],
)
def test_a_failed_save_is_said_with_what_a_stop_would_lose(saved_step, rest):
    said: list[str] = []
    run = SimpleNamespace(copies=None, saved_step=saved_step, event=lambda *_, **__: None, say=said.append)
    note_saved(run, Saved(10, Path("step_00000010"), "steps", 1.0, 0.1, 0, "the disk is full"))
    assert said == [f"warning: no checkpoint of step 10: the disk is full; training goes on, {rest}"]
