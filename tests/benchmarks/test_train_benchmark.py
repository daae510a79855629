"""The speed table: a tiny model through the real trainer and a peer, ratios, processes that fail."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import ENVIRONMENT, ROOT, SECONDS, sets
from small_runs import MODEL

from benchmarks import child
from benchmarks.speed_rows import last_line, row_of, text
from benchmarks.stand_in_dataset import write_stand_in
from benchmarks.train import size_of
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.flops import flops_per_token
from megatron_recipe.recipes import load_config

H100 = "NVIDIA H100 80GB HBM3"


def test_the_trainer_and_a_peer_stand_in_one_table(dataset: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "benchmarks.train", "--out", str(tmp_path), "--data", str(dataset)),
        *("--recipes", "gpt_tiny_cpu", "--peers", "transformers", "--no-compile", "--samples", "4"),
        *("--steps", "4", "--interval", "2", "--micro-batches", "2"),
        *sets(*MODEL, "batch.micro_batch_size_samples=2", "precision.dtype=fp32"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "train.json").read_text())}
    assert list(rows) == ["GEMM ceiling", "ours", "transformers"]
    for name in ("ours", "transformers"):
        assert rows[name]["tokens"] == 4 * 64 and rows[name]["micro_batch"] == 2
        assert len(rows[name]["step_seconds"]) == 2
    assert rows["ours"]["layers"] == "Megatron-Core local"
    last = done.stdout.splitlines()[-1]
    assert last.startswith("recipe=gpt_tiny_cpu precision=fp32 tokens_per_second=")
    assert "vs_litgpt=- " in last and "vs_transformers=-" not in last


def measured(seconds: float, tokens: int = 262_144, **facts: Any) -> dict[str, Any]:
    """What a row's process reports."""
    times = [seconds * 0.9, seconds, seconds * 1.3]
    return {"step_seconds": times, "tokens": tokens, "peak_gib": 70.0, "micro_batch": 8, "loss": 9.5, **facts}


def test_rates_and_ratios_come_from_the_median() -> None:
    config, fp8 = load_config("gpt_1b"), load_config("gpt_1b_fp8")
    ours = row_of("ours", "gpt_1b", measured(3.2768), config, 64, 32_000, H100)
    assert ours["tokens_per_second"] == pytest.approx(80_000)
    assert ours["mfu_full"] == pytest.approx(0.635, abs=0.002)  # by hand: 80,000 × 7.84 GFLOP of 989.4 T
    flops = flops_per_token(config.model, 32_000, causal=True)
    assert ours["mfu_causal"] == pytest.approx(80_000 * flops / 989.4e12)
    assert ours["spread"] == pytest.approx(0.4)
    rows = [
        ours,
        row_of("ours", "gpt_1b_fp8", measured(2.0), fp8, 64, 32_000, H100),
        row_of("bare", "gpt_1b", measured(3.2), config, 64, 32_000, H100),
        row_of("bare", "gpt_1b_fp8", measured(1.9), fp8, 64, 32_000, H100),
        row_of("litgpt-bf16", "gpt_1b", measured(3.6), config, 64, 32_000, H100),
        row_of("litgpt-mixed", "gpt_1b", {"error": "out of memory"}, config, 64, 32_000, H100),
        row_of("transformers", "gpt_1b", measured(4.0), config, 64, 32_000, H100),
        row_of("transformers-whole", "gpt_1b", measured(4.6), config, 64, 32_000, H100),
        row_of("litgpt-bf16", "gpt_3b", measured(9.9), load_config("gpt_3b"), 64, 32_000, H100),
    ]
    said = dict(pair.split("=") for pair in last_line(ours, rows).split())
    expected = {"vs_litgpt": 3.6 / 3.2768, "vs_transformers": 4.0 / 3.2768, "vs_bare": 3.2 / 3.2768}
    assert {name: float(said[name]) for name in expected} == pytest.approx(expected, abs=1e-3)
    assert (said["vs_litgpt_mixed"], said["vs_torchtitan"], said["peak_gib"]) == ("-", "-", "70.0")
    assert "precision=fp8" in last_line(rows[1], rows) and "vs_litgpt=1.800" in last_line(rows[1], rows)
    assert text(rows[5]).endswith("bf16      out of memory")
    assert "80,000" in text(ours) and "63.4%" in text(ours)


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(child.Failed, match="CUDA out of memory") as failure:
        child.last_json(["-c", "print('CUDA out of memory. 2 GiB\\nat the end'); raise SystemExit(1)"], log, 60)
    assert failure.value.said[-1] == "at the end"
    with pytest.raises(child.Failed, match="not done after 0 s"):
        child.run(["-c", "import time; time.sleep(60)"], log, 0.3)
    with pytest.raises(child.Failed, match="no report: hello"):
        child.last_json(["-c", "print('hello')"], log, 60)
    with pytest.raises(child.Failed, match="ended before it was measured: hello"):
        child.run(["-c", "print('hello')"], log, 60, is_done=lambda: False)
    assert child.last_json(["-c", "print('hello\\n{\"a\": 1}')"], log, 60) == {"a": 1}


def is_running(process: int) -> bool:
    """Whether a process still computes; one that is dead may wait for its parent to notice."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_process_is_ended_when_enough_is_measured(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "import os, pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "pathlib.Path('part').write_text(f'{os.getpid()} {child.pid}')\n"
        "pathlib.Path('part').rename('ready')\n"
        "time.sleep(60)"
    )
    child.run(["-c", f"import os; os.chdir({str(tmp_path)!r})\n{code}"], tmp_path / "log", 30, is_done=ready.exists)
    own, childs = (int(number) for number in ready.read_text().split())
    end = time.monotonic() + 5
    while is_running(childs) and time.monotonic() < end:
        time.sleep(0.05)  # it was sent its signal, and nobody waits for it
    assert not is_running(own) and not is_running(childs)


def test_a_size_is_that_of_the_recipe_and_of_what_extends_it() -> None:
    assert [size_of(name) and size_of(name)[0] for name in ("gpt_1b", "gpt_1b_fp8", "gpt_3b")] == [64, 64, 16]
    assert size_of("gpt_10b") is None


def test_the_stand_in_is_a_dataset(tmp_path: Path) -> None:
    facts = read_dataset_facts(write_stand_in(tmp_path / "made-up", 32_000, 60_000))
    assert facts.vocab_size == 32_000
    assert facts.tokens("train") == pytest.approx(60_000, rel=0.1) and facts.samples("validation", 64) > 10
    assert (tmp_path / "made-up/train.bin").stat().st_size == 2 * facts.tokens("train")
