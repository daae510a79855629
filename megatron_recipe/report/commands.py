"""The commands that make the missing parts of a report, as the reader can type them."""

import shlex
from pathlib import Path

from megatron_recipe.report.run_files import Run


def commands(run: Run, lang: str) -> dict[str, str]:
    """Command lines by what they make, with the run's own paths and the report's language."""
    folder = shlex.quote(shown_path(run.folder))
    results = shown_path(run.folder / "eval")
    dataset = shlex.quote(run.datasets[0].path) if run.datasets else "DATASET"
    export = (
        shlex.quote(shown_path(run.exports[-1]["folder"]))
        if run.exports
        else shlex.quote(f"exports/{run.folder.absolute().name}")
    )
    return {
        "train": f"megatron-recipe train --config {shlex.quote(shown_path(run.folder / 'config.yaml'))}",
        "export": f"megatron-recipe convert to-hf {folder} {export}",
        "perplexity": f"megatron-recipe eval perplexity {export} --dataset {dataset} "
        f"--out {shlex.quote(f'{results}/perplexity.json')}",
        "samples": f"megatron-recipe eval generate {export} --out {shlex.quote(f'{results}/samples.json')}",
        "report": f"megatron-recipe report {folder}" + (f" --lang {lang}" if lang != "en" else ""),
    }


def data_command(dataset: str) -> str:
    """The command that makes the dataset folder `dataset` again; its sources are the reader's to name."""
    return f"megatron-recipe data prepare SOURCE --out {shlex.quote(dataset)}"


def shown_path(path: Path) -> str:
    """`path` from the folder the reader works in; a path elsewhere stays whole."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
