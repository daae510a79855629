"""Overlapped communication between two ranks changes no number, and validation and saves see gathered weights."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import run
from direct_steps import small_config

from megatron_recipe.overlap import Overlap, overlap_of

WITH_GATHERING = ["sums and gathering", "whole layers again"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What rank 0 of two prints."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = Path(__file__).parent / "overlap_ranks.py"
    done = run([*torchrun, str(script)], cwd=tmp_path_factory.mktemp("overlap"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_each_setting_overlaps_what_it_says(found):
    assert {name: numbers["overlaps"] for name, numbers in found.items()} == {
        "one after the other": [False, False],
        "sums": [True, False],
        "sums and gathering": [True, True],
        "sums, not distributed": [True, False],
        "whole layers again": [True, True],
    }
    assert found["sums"]["buckets"] > 3


@pytest.mark.slow
def test_norms_losses_and_weights_are_those_without(found):
    expected = found.pop("one after the other")
    assert len(set(expected["norms"])) == 5
    for name, numbers in found.items():
        assert numbers["norms"] == pytest.approx(expected["norms"], rel=1e-6), name
        assert numbers["held_out"] == pytest.approx(expected["held_out"], rel=1e-6), name
        assert [sums[0] for sums in numbers["seen"]] == pytest.approx([sums[0] for sums in expected["seen"]], rel=1e-6)
    found["one after the other"] = expected


@pytest.mark.slow
def test_inside_the_block_all_ranks_hold_the_same_weights(found):
    for numbers in found.values():
        assert all(first == second for first, second in numbers["seen"])
    # and that is the block's doing: without it a rank still holds the others' weights of before the update
    for name in WITH_GATHERING:
        first, second = found[name]["without_waiting"]
        assert first != second


def test_one_rank_has_nothing_to_overlap(module_groups):
    layout = small_config().parallel
    assert layout.overlap_grad_reduce and layout.overlap_param_gather
    assert overlap_of(layout) == Overlap(grad_reduce=False, param_gather=False)
