"""The profile of a tiny model on a CPU: variants that work, that fail, and that take their process down."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import ENVIRONMENT, ROOT, SECONDS, sets
from small_runs import MODEL

from benchmarks import step_profile
from benchmarks.variants import Variant
from megatron_recipe.errors import ConfigError


def test_variants_run_side_by_side_and_a_failing_one_says_why(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    command = [
        *(sys.executable, "-m", "benchmarks.step_profile", "--recipe", "gpt_tiny_cpu", "--out", str(out)),
        *(*sets(*MODEL, "batch.micro_batch_size_samples=2"), "--samples", "4", "--vocab-size", "300"),
        *("--variant", "plain", "-", "--variant", "bad", "kernels.nothing=1"),
        *("--variant", "large", "batch.micro_batch_size_samples=4"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS)
    rows = {row["variant"]: row for row in json.loads(out.read_text())}
    assert list(rows) == ["plain", "bad", "large"], done.stderr
    assert done.returncode == 1 and "kernels.nothing is not known" in rows["bad"]["error"]
    assert [rows[name]["micro_batch"] for name in ("plain", "large")] == [2, 4]
    assert rows["plain"]["tokens"] == 4 * 64 and len(rows["plain"]["step_seconds"]) == step_profile.TIMED
    assert rows["plain"]["loss"] == pytest.approx(5.7, abs=0.5)  # ln 300
    assert rows["plain"]["kernels"]["launches"] > 100
    assert "| ns a token | plain | large |" in done.stdout


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(out=tmp_path / "profile.json", variant_seconds=20.0)


def worker(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let `code` take a worker's place; it finds the file in sys.argv[1]."""
    monkeypatch.setattr(
        step_profile, "worker_command", lambda lines, names: [sys.executable, "-c", code, str(lines), *names]
    )


ONE_LINE = "import sys, json, time; open(sys.argv[1], 'w').write(json.dumps({'variant': 'a', 'error': 'no'}) + '\\n'); "


@pytest.mark.parametrize(
    "code, seconds, reason",
    [
        (ONE_LINE + "sys.exit(9)", 60, "its process ended with code 9"),  # killed in the second variant
        (ONE_LINE + "sys.exit(3)", 60, None),  # the first took the GPU down, and was written down
        (ONE_LINE + "time.sleep(60)", 3, "not done after"),
    ],
)
def test_a_worker_that_ends_early_costs_the_variant_that_it_was_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: Any, code: str, seconds: float, reason: str | None
) -> None:
    worker(monkeypatch, code)
    rows: list[step_profile.Row] = []
    end = step_profile.time.monotonic() + seconds
    told = step_profile.run_worker(["a", "b"], tmp_path / "lines", options, rows, end)
    assert told is None if reason is None else told and told.startswith(reason)
    assert [row["variant"] for row in rows] == ["a"]
    assert json.loads(options.out.read_text()) == rows


def test_a_variant_is_read_from_its_settings() -> None:
    variant = Variant.read("x", "data.datasets=a,b,recipe=gpt_1b_fp8,kernels.layer=fused,env.NVTE_FUSED_ATTN=0")
    assert variant.overrides == ("data.datasets=a,b", "kernels.layer=fused")
    assert (variant.recipe, variant.peer, variant.environment) == ("gpt_1b_fp8", None, (("NVTE_FUSED_ATTN", "0"),))
    assert Variant.read("x", "-") == Variant("x", ())
    with pytest.raises(ConfigError, match=r"'fused' is no setting; write section\.field=value"):
        Variant.read("x", "fused")
    with pytest.raises(ConfigError, match="unknown peer 'llama'; known: transformers, "):
        Variant.read("x", "peer=llama")
