"""Two ranks: overlapped communication changes no number, validation, saves and evaluations see gathered weights."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run_warm
from continuations import judged
from direct_steps import DirectRun, small_config

from megatron_recipe.overlap import Overlap, overlap_of
from megatron_recipe.parallel import Ranks

WITH_GATHERING = ["sums and gathering", "whole layers again"]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What rank 0 of two prints."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = Path(__file__).parent / "overlap_ranks.py"
    done = run_warm([*torchrun, str(script)], cwd=tmp_path_factory.mktemp("overlap"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def found(computed: dict[str, Any]) -> dict[str, Any]:
    """The numbers of each setting."""
    return dict(computed["settings"])


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


@pytest.mark.slow
def test_continuations_are_judged_as_by_one_process_in_any_layout(computed, module_groups):
    alone = judged(DirectRun(small_config()), Ranks(0, 1, 0, 1, torch.device("cpu")))
    assert set(computed["likelihoods"]) == {"data", "tensor and sequence", "stages"}
    for layout, spread in computed["likelihoods"].items():
        assert [total for total, _ in spread] == pytest.approx([total for total, _ in alone], abs=1e-4), layout
        assert [greedy for _, greedy in spread] == [greedy for _, greedy in alone], layout
