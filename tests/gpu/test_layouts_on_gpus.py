"""Several ranks of NCCL: no layout changes what is learnt, each reads the others' checkpoints, a killed rank is mended.

Each rank has a GPU of its own where the machine has so many; else all share the first (benchmarks/one_card.py).
"""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from commands import LAUNCH, ROOT
from layout_ranks import LAYOUTS, STEPS
from small_runs import arguments, records

from benchmarks.faults import last_step, log_of, newest_step
from megatron_recipe.files import read_jsonl

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
SECONDS = 600
LOSS, NORM = 3e-3, 3e-2
"""BF16 rounds in another order in each layout: a mean loss moves by some 1e-4 of itself, a norm by some 1e-3."""
CASES = [(ranks, layout) for ranks, layouts in LAYOUTS.items() for layout in layouts]


def torchrun(ranks: int, *command: object, restarts: int = 0) -> list[str]:
    """A script on so many ranks."""
    shared = [] if torch.cuda.device_count() >= ranks else [ROOT / "benchmarks/one_card.py"]
    options = ["--standalone", f"--nproc-per-node={ranks}", f"--max-restarts={restarts}"]
    return [sys.executable, "-m", "torch.distributed.run", *options, *map(str, [*shared, *command])]


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What so many processes of layout_ranks.py wrote down."""
    out = tmp_path_factory.mktemp("layouts")
    command = torchrun(request.param, Path(__file__).with_name("layout_ranks.py"), out)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    written = json.loads((out / "found.json").read_text(encoding="utf-8"))
    print(json.dumps({request.param: written}))  # with -s: the figures behind the verdict
    return dict(written)


@pytest.mark.parametrize(("found", "layout"), CASES, indirect=["found"], scope="module")
def test_every_layout_has_the_losses_of_the_first(found, layout):
    reference = next(iter(found.values()))["steps"]
    assert len(reference) == STEPS
    for (loss, norm), (expected_loss, expected_norm) in zip(found[layout]["steps"], reference, strict=True):
        assert loss == pytest.approx(expected_loss, rel=LOSS)
        assert norm == pytest.approx(expected_norm, rel=NORM)


@pytest.mark.parametrize(("found", "layout"), CASES, indirect=["found"], scope="module")
def test_every_layout_reads_the_checkpoints_of_all_others(found, layout):
    assert set(found[layout]["from"]) == set(found)
    for other, (loss, norm) in found[layout]["from"].items():
        expected_loss, expected_norm = found[other]["next"]
        assert loss == pytest.approx(expected_loss, rel=LOSS), other
        assert norm == pytest.approx(expected_norm, rel=NORM), other


@pytest.mark.parametrize("found", LAYOUTS, indirect=True, scope="module")
def test_losses_move_by_more_than_is_allowed(found):
    losses = [loss for loss, _ in next(iter(found.values()))["steps"]]
    assert all(abs(later / earlier - 1) > 2 * LOSS for earlier, later in itertools.pairwise(losses))


def test_torchrun_restarts_a_run_whose_rank_was_killed(dataset, tmp_path):
    """As on the CPU (tests/trainer/test_faults.py), with NCCL: the survivor hangs in a collective until it is ended."""
    settings = ("train.stop_at_step=60", "checkpoint.save_every_steps=20", "train.steps=60", "precision.dtype=bf16")
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    whole = started(dataset, straight, *settings)  # beside the other: time plays no role
    process = started(dataset, killed, *settings, restarts=1)
    try:
        wait_for(process, killed, lambda: newest_step(killed) >= 20 and last_step(killed) > newest_step(killed))
        (one,) = (child for child in psutil.Process(process.pid).children() if child.environ().get("LOCAL_RANK") == "1")
        one.kill()
        assert process.wait(SECONDS) == 0, log_of(killed)
        assert whole.wait(SECONDS) == 0, log_of(straight)
    finally:
        for one in (process, whole):
            for child in psutil.Process(one.pid).children(recursive=True) if one.poll() is None else []:
                child.kill()
            one.kill()
    first, again = (
        event["step"] for event in read_jsonl(killed / "events.jsonl") if event["event"] in ("start", "resume")
    )
    assert first == 0 and again >= 20 and again % 20 == 0
    assert re.search(r"restart|Restart", log_of(killed))
    losses = [{record["step"]: record["loss"] for record in records(run, "train")} for run in (straight, killed)]
    assert list(losses[0]) == list(losses[1]) == list(range(1, 61))  # no step is missing, none stands twice
    assert list(losses[1].values()) == pytest.approx(list(losses[0].values()), rel=LOSS)


def started(dataset: Path, run: Path, *settings: str, restarts: int = 0) -> subprocess.Popen[bytes]:
    """The real trainer on two ranks."""
    wide = ("model.head_dim=64", "model.hidden_size=256", "model.ffn_hidden_size=512", "model.num_layers=4")
    command = torchrun(2, LAUNCH, *arguments(dataset, run, *settings, *wide), restarts=restarts)
    with Path(f"{run}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT, cwd=run.parent)


def wait_for(process: subprocess.Popen[bytes], run: Path, happened: Callable[[], bool]) -> None:
    """Until it happened in a run that goes on."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline, log_of(run)
        time.sleep(0.002)
