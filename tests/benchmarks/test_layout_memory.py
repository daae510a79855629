"""Memory of layouts on one card, as far as it needs none: what a row asks for, the plan's numbers, how ranks share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ENVIRONMENT, ROOT, SECONDS

from benchmarks.layout_memory import ROWS, Case


def layout_memory(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.layout_memory", "--out", str(out), *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS)


def test_a_step_of_a_row_fills_the_pipeline():
    case = Case.read("gpt_1b:8:2:parallel.pipeline=2,parallel.virtual_stages=2,parallel.tensor=2")
    assert (case.ranks, case.config.batch.micro_batch, case.config.parallel.virtual_stages) == (8, 2, 2)
    assert case.config.batch.global_batch_size_samples == 2 * 2 * 6  # data ranks, samples, three for each of two stages


def test_the_plan_is_told_without_a_gpu(tmp_path):
    done = layout_memory(tmp_path / "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(ROWS)
    assert "GiB" in done.stdout and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("gpt_1b:2", "--rows gpt_1b:2: write RECIPE:RANKS"),
        ("gpt_9b:2:1:", "unknown recipe 'gpt_9b'"),
        ("gpt_1b:3:1:parallel.tensor=2", "3 ranks are no multiple of tensor"),
    ],
)
def test_what_is_no_row_is_refused(tmp_path, row, said):
    done = layout_memory(tmp_path, "--rows", row, "--dry-run")
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("rank", "words"), [({}, ["script.py"]), ({"RANK": "0"}, [])])
def test_ranks_are_torchruns_and_have_a_script(rank, words):
    outside = {name: value for name, value in os.environ.items() if name != "RANK"}
    command = [sys.executable, str(ROOT / "benchmarks/one_card.py"), *words]
    done = subprocess.run(command, env={**outside, **rank}, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2 and done.stderr.startswith("one_card.py runs a script by torchrun: ")


def test_a_script_runs_as_a_rank_on_the_first_card(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, sys, beside\n"
        "names = 'LOCAL_RANK', 'NCCL_HOSTID'\n"
        "print(json.dumps([__name__, sys.argv[1:], *(os.environ[name] for name in names)]))\n"
    )
    (tmp_path / "beside.py").touch()
    command = [sys.executable, str(ROOT / "benchmarks/one_card.py"), str(script), "--steps", "2"]
    ranks = {**os.environ, "RANK": "3", "LOCAL_RANK": "3"}
    done = subprocess.run(command, env=ranks, capture_output=True, text=True, timeout=SECONDS)
    assert json.loads(done.stdout) == ["__main__", ["--steps", "2"], "0", "rank3"], done.stderr
