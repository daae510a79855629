"""The profile of a tiny model on a CPU: variants that work, that fail, and that take their process down."""

import json
import subprocess
import sys
from pathlib import Path

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


def test_a_variant_is_read_from_its_settings() -> None:
    variant = Variant.read("x", "data.datasets=a,b,recipe=gpt_1b_fp8,kernels.layer=fused,env.NVTE_FUSED_ATTN=0")
    assert variant.overrides == ("data.datasets=a,b", "kernels.layer=fused")
    assert (variant.recipe, variant.peer, variant.environment) == ("gpt_1b_fp8", None, (("NVTE_FUSED_ATTN", "0"),))
    assert Variant.read("x", "tiles=128x256").tiles == "128x256"
    assert Variant.read("x", "-") == Variant("x", ())
    with pytest.raises(ConfigError, match=r"'fused' is no setting; write section\.field=value"):
        Variant.read("x", "fused")
    with pytest.raises(ConfigError, match="tiles=1x1 is not one of 128x192, "):
        Variant.read("x", "tiles=1x1")
    with pytest.raises(ConfigError, match="unknown peer 'llama'; known: transformers, "):
        Variant.read("x", "peer=llama")
