"""Layouts measured over two processes on a CPU: the numbers that a row holds, the ratios, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ENVIRONMENT, ROOT, SECONDS, sets
from small_runs import MODEL

from benchmarks.scaling import efficiency, layouts
from benchmarks.shared_process import Row

COMMAND = [sys.executable, "-m", "benchmarks.scaling", "--gpus", "2"]
SMALL = [*sets(*MODEL, "batch.micro_batch_size_samples=2"), "--tokens", "512", "--vocab-size", "300", "--steps", "2"]


def scaling(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--out", str(out), *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.slow
def test_layouts_are_measured_beside_one_process(tmp_path):
    # context parallelism needs a GPU: the row says so, and the next is measured
    rows = ("gpt_tiny_cpu:alone", "gpt_tiny_cpu:PP 2", "gpt_tiny_cpu:CP 2, 16k", "gpt_tiny_cpu:DP")
    done = scaling(tmp_path, *SMALL, "--rows", *rows)
    found = {row["name"]: row for row in json.loads((tmp_path / "scaling.json").read_text())}
    assert [row.replace(":", " ", 1) for row in rows] == list(found), done.stderr
    assert done.returncode == 1 and "Context parallelism" in found["gpt_tiny_cpu CP 2, 16k"]["error"]
    for layout, processes in (("alone", 1), ("PP 2", 2), ("DP", 2)):
        row = found[f"gpt_tiny_cpu {layout}"]
        assert (row["gpus"], row["tokens"], row["micro_batch"]) == (processes, 512 * processes, 2)
        assert len(row["step_seconds"]) == 2
        assert row["tokens_per_second_per_gpu"] == pytest.approx(row["tokens"] / row["seconds"] / processes)
        assert row["loss"] == pytest.approx(5.7, abs=0.5)  # ln 300
    last = done.stdout.splitlines()[-1]
    assert last.startswith("recipe=gpt_tiny_cpu precision=fp32 gpus=2 layout=") and "efficiency=-" not in last


def test_efficiency_is_against_the_same_model_and_length_alone():
    def row(recipe: str, gpus: int, length: int, speed: float) -> Row:
        return {"recipe": recipe, "gpus": gpus, "length": length, "tokens_per_second_per_gpu": speed}

    rows = [row("a", 1, 4096, 100.0), row("a", 1, 16384, 80.0), row("b", 1, 4096, 50.0), {"name": "c", "error": "no"}]
    assert efficiency(row("a", 2, 4096, 95.0), rows) == 0.95
    assert efficiency(row("a", 2, 16384, 60.0), rows) == 0.75
    assert efficiency(row("c", 2, 4096, 60.0), rows) is None


def test_a_number_of_gpus_has_the_layouts_that_divide_it():
    assert "TP 2" in layouts(2) and "TP 4" not in layouts(2)
    assert {"PP 8", "CP 4, 16k"} <= set(layouts(8))
    assert not any(name.startswith(("TP", "PP", "CP")) for name in (*layouts(1), *layouts(3)))


@pytest.mark.parametrize(
    ("row", "said"), [("gpt_1b:TP 4", "layout 'TP 4': 2 GPUs have alone, "), ("gpt_9b:DP", "unknown recipe 'gpt_9b'")]
)
def test_what_is_not_there_is_refused(tmp_path, row, said):
    done = scaling(tmp_path, "--rows", row)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
