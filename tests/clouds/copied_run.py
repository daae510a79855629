"""A run folder as the trainer leaves it, of random bytes, with real markers and checksums."""

import os
from pathlib import Path

from megatron_recipe.checkpoint_integrity import damage, write_integrity, write_marker


def add_checkpoint(run: Path, step: int, size: int = 200_000) -> Path:
    folder = run / "checkpoints" / f"step_{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for rank in range(3):
        (folder / f"__{rank}_0.distcp").write_bytes(os.urandom(size))
    (folder / "common.pt").write_bytes(os.urandom(100))
    write_integrity(folder)
    write_marker(folder, {"step": step})
    return folder


def make_run(run: Path, *steps: int, size: int = 200_000) -> Path:
    for step in steps:
        add_checkpoint(run, step, size)
    (run / "config.yaml").write_text("train: {}\n", encoding="utf-8")
    (run / "metrics.jsonl").write_text('{"step": 1}\n' * 50, encoding="utf-8")
    (run / "tensorboard").mkdir(exist_ok=True)
    (run / "tensorboard" / "events.out").write_bytes(os.urandom(1000))
    return run


def content(folder: Path) -> dict[str, bytes]:
    """Every file below, but for hidden ones."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    return {name: data for name, data in named.items() if not any(part.startswith(".") for part in name.split("/"))}


def looks_whole_but_is_not(copy: Path) -> list[str]:
    """Checkpoints of a copy with a marker, whose files are not those of the marker."""
    marked = [path.parent for path in copy.glob("checkpoints/step_*/checkpoint.json")]
    return [f"{folder.name}: {problem}" for folder in marked if (problem := damage(folder))]
