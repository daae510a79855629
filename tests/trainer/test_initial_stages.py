"""No two stages of a pipeline begin with the same layers."""

import json
import sys
from pathlib import Path

import pytest
from commands import run_warm


@pytest.mark.slow
def test_every_stage_draws_its_own_weights(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    done = run_warm([*torchrun, str(Path(__file__).with_name("stage_ranks.py"))], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    sums, norms = zip(*json.loads(done.stdout.splitlines()[-1]), strict=True)
    assert len(set(sums)) == len(sums) == 4
    assert norms == pytest.approx([norms[0]] * 4, rel=0.1)  # drawn alike
