"""What checkpoints in the background cost, from the records of a run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import ENVIRONMENT, ROOT, SECONDS, sets
from small_runs import MODEL

from benchmarks import saves


def test_a_save_costs_what_it_blocks_and_what_the_steps_beside_it_lose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "run"

    def run_trainer(recipe: str, overrides: list[str], at: Path, seconds: float, is_done: Any) -> None:
        assert "checkpoint.save_every_steps=6" in overrides and "train.log_every_steps=1" in overrides
        folder.mkdir()
        for step in range(1, 11):
            slow = 0.5 if step in (6, 7, 8) else 0.0
            record = {"kind": "train", "step": step, "step_seconds": 2.0 + slow + (5.0 if step == 1 else 0.0)}
            with (folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
            if step == 8:
                saved = {"event": "checkpoint_saved", "step": 6, "blocked_seconds": 0.6, "seconds": 4.0, "bytes": 14e9}
                (folder / "events.jsonl").write_text(json.dumps(saved) + "\n")
            if is_done():
                break

    monkeypatch.setattr(saves, "run_trainer", run_trainer)
    found = saves.measure_saves("gpt_1b", [], folder, every=6, saves=1, seconds=60)
    assert found["usual_step_seconds"] == 2.0
    assert found["saves"] == [
        {
            "step": 6,
            "steps_beside": 2,
            "blocked_seconds": 0.6,
            "slower_seconds": pytest.approx(1.0),
            "cost_in_steps": pytest.approx(0.8),
            "seconds": 4.0,
            "gb": 14.0,
        }
    ]
    assert saves.text(found["saves"][0]) == (
        "step 6: 0.80 steps (blocked 0.60 s, slower 1.00 s over 2 steps; 14.0 GB in 4.0 s)"
    )
    line = "recipe=gpt_1b step_seconds=2.000 blocked_seconds=0.600 slower_seconds=1.000 cost_in_steps=0.800 gb=14.000"
    assert saves.last_line("gpt_1b", found) == line


def test_two_saves_of_a_real_run(dataset: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "benchmarks.saves", "--out", str(tmp_path), "--data", str(dataset)),
        *("--recipe", "gpt_tiny_cpu", "--samples", "4", "--every", "4"),
        *sets(*MODEL, "batch.micro_batch_size_samples=2", "precision.dtype=fp32"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "saves.json").read_text())["saves"]
    assert len(found) == 2 and all(save["gb"] > 0 and save["blocked_seconds"] > 0 for save in found)
    assert done.stdout.splitlines()[-1].startswith("recipe=gpt_tiny_cpu step_seconds=")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--data", "nowhere", "--out", "OUT"), "nowhere: not a dataset"),
        (("--data", "DATA", "--out", "OUT", "--recipe", "nope"), "unknown recipe 'nope'"),
        (("--data", "DATA", "--out", "/dev/null/x"), "cannot be written"),
        (("--data", "DATA", "--out", "OUT", "--every", "0"), "at least 4 steps and one save"),
    ],
)
def test_wrong_input_is_one_message(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked, message
) -> None:
    words = {"DATA": str(dataset), "OUT": str(tmp_path)}
    monkeypatch.setattr(sys, "argv", ["saves", *(words.get(word, word) for word in asked)])
    with pytest.raises(SystemExit) as ended:
        sys.exit(saves.main())
    error = capsys.readouterr().err
    assert ended.value.code == 2 and message in error and "Traceback" not in error
