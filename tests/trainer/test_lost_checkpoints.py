"""Records without checkpoints are no new run."""

import json
from pathlib import Path

import pytest
from test_set_aside import marked

from megatron_recipe.config import CheckpointConfig
from megatron_recipe.errors import CheckpointError, MachineError
from megatron_recipe.lost_checkpoints import require_checkpoints
from megatron_recipe.recipes import load_config
from megatron_recipe.train_command import check_past

STOP, ANEW = CheckpointConfig(sync_to="oss:b/runs"), CheckpointConfig(when_none_is_whole="begin_anew")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    events = [{"event": "start", "step": 0}, {"event": "checkpoint_saved", "step": 20}]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


@pytest.mark.parametrize("left", ["nothing", "an unfinished save", "latest"])
def test_a_run_whose_checkpoints_are_gone_is_refused(run, left):
    if left == "an unfinished save":
        (run / "checkpoints/step_00000030").mkdir()
    if left == "latest":
        (run / "checkpoints/latest").write_text("step_00000020")
    said = r"step 20 was saved, and .*checkpoints has no checkpoint; .*sync .* --from oss:b/runs.*begin_anew"
    with pytest.raises(CheckpointError, match=said):
        require_checkpoints(STOP, run)
    with pytest.raises(CheckpointError, match=said):  # train --dry-run says so, too
        check_past(load_config("gpt_tiny_cpu", ("checkpoint.sync_to=oss:b/runs",)), run)
    require_checkpoints(ANEW, run)


def test_one_that_is_there_is_enough_and_a_new_run_needs_none(run, tmp_path):
    marked(run / "checkpoints", 10)
    require_checkpoints(STOP, run)
    require_checkpoints(STOP, tmp_path / "new")


def test_a_run_that_began_anew_has_saved_nothing_yet(run):
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "start", "step": 0}) + "\n")
    require_checkpoints(STOP, run)


def test_a_link_to_a_disk_that_is_not_mounted_is_refused(tmp_path):
    (tmp_path / "checkpoints").symlink_to(tmp_path / "disk")
    with pytest.raises(MachineError, match=r"checkpoints is a link to .*disk, which is not there; mount"):
        require_checkpoints(ANEW, tmp_path)
    (tmp_path / "disk").mkdir()
    require_checkpoints(STOP, tmp_path)
