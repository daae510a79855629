"""Records of a run hold each step once, whatever cut them short."""

import json
from pathlib import Path

import pytest

from megatron_recipe.files import read_jsonl
from megatron_recipe.loggers import RunLog
from megatron_recipe.recipes import load_config

CONFIG = load_config("gpt_tiny_cpu", ("logging.tensorboard=false",))


def write_steps(run_dir: Path, steps: range, resumed_at_step: int = 0) -> None:
    log = RunLog(run_dir, CONFIG, resumed_at_step)
    log.event("resume" if resumed_at_step else "start", step=resumed_at_step)
    for step in steps:
        log.metric("train", {"step": step, "loss": 1.0})
    log.close()


def steps_of(run_dir: Path) -> list[int]:
    return [record["step"] for record in read_jsonl(run_dir / "metrics.jsonl")]


@pytest.mark.parametrize("resumed_at_step", [0, 4])
def test_steps_that_are_taken_again_are_recorded_once(tmp_path, resumed_at_step):
    """0: killed before the first checkpoint."""
    write_steps(tmp_path, range(1, 7))
    write_steps(tmp_path, range(resumed_at_step + 1, 11), resumed_at_step)
    assert steps_of(tmp_path) == list(range(1, 11))


def test_lines_cut_by_a_kill_are_dropped_and_the_next_ones_are_whole(tmp_path):
    write_steps(tmp_path, range(1, 5))
    # in the middle of a Chinese character
    for name in ("metrics.jsonl", "events.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write('{"step": 5, "note": "检'.encode()[:-1])
    write_steps(tmp_path, range(5, 7), resumed_at_step=4)
    assert steps_of(tmp_path) == list(range(1, 7))
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events] == ["start", "resume"]
