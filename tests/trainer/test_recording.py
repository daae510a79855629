"""Which validation is the best so far."""

import math

import pytest

from megatron_recipe.recording import improves


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
