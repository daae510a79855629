"""The commands that make the missing parts of a report, as the reader can type them."""

import shlex
from pathlib import Path

from megatron_recipe.report.run_files import Run


def commands(run: Run) -> dict[str, str]:
    """Command lines by what they make, with the run's own paths."""
    folder = shown_path(run.folder)
    config = shlex.quote(f"{folder}/config.yaml")
    dataset = shlex.quote(run.datasets[0].path) if run.datasets else "DATASET"
    export = shlex.quote(shown_path(run.exports[-1]["folder"])) if run.exports else f"exports/{run.folder.name}"
    return {
        "train": f"megatron-recipe train --config {config}",
        "data": f"megatron-recipe data prepare SOURCE --out {dataset}",
        "export": f"megatron-recipe convert to-hf {shlex.quote(folder)} --out {export}",
        "perplexity": f"megatron-recipe eval perplexity {export} --dataset {dataset} --run {shlex.quote(folder)}",
        "samples": f"megatron-recipe eval generate {export} --run {shlex.quote(folder)}",
        "report": f"megatron-recipe report {shlex.quote(folder)}",
    }


def shown_path(path: Path) -> str:
    """`path` from the folder the reader works in; a path elsewhere stays whole."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
