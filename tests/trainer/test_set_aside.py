"""A damaged checkpoint is counted no more among those that a run can go on from."""

from pathlib import Path

from megatron_recipe.checkpoint import set_aside
from megatron_recipe.checkpoint_integrity import write_integrity, write_marker
from megatron_recipe.checkpoint_policy import prune
from megatron_recipe.config import CheckpointConfig


def marked(checkpoints: Path, step: int) -> None:
    folder = checkpoints / f"step_{step:08d}"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    write_integrity(folder)
    write_marker(folder, {"step": step, "kind": "regular"})


def keep(last: int, **settings: object) -> CheckpointConfig:
    return CheckpointConfig.model_validate({"keep_last": last, **settings})


def test_damaged_checkpoints_take_no_whole_ones_place(tmp_path):
    for step in (300, 400, 500):
        marked(tmp_path, step)
    for step in (400, 500):
        set_aside(tmp_path / f"step_{step:08d}")
    marked(tmp_path, 350)
    assert [folder.name for folder in prune(tmp_path, keep(3, keep_best=False))] == []
    deleted = prune(tmp_path, keep(2, keep_best=False))
    assert sorted(folder.name for folder in deleted) == ["damaged_step_00000400", "damaged_step_00000500"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step_00000300", "step_00000350"]
