"""Continuations of several models side by side, as one HTML page that opens anywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.page_strings import TABLES
from megatron_recipe import __version__
from megatron_recipe.files import atomic_file
from megatron_recipe.report.formats import FILTERS, when
from megatron_recipe.report.page_environment import page_environment
from megatron_recipe.report.strings import Strings

PACKAGES = ("eval", "data_prep.report", "megatron_recipe")
"""Whose templates and style the page uses."""


def write_page(path: Path, results: Sequence[dict[str, Any]], lang: str) -> None:
    """Write the page of what `generate_samples` returned for each model, in their order."""
    with atomic_file(path) as file:
        file.write(render_page(results, lang))


def render_page(results: Sequence[dict[str, Any]], lang: str) -> str:
    """The page as HTML, in a language of `TABLES`."""
    environment = page_environment(*PACKAGES)
    environment.filters.update(FILTERS)
    environment.globals.update(t=Strings(TABLES[lang]))
    names = short_names([result["model"] for result in results])
    return environment.get_template("samples_page.html").render(
        names=names,
        figures=[
            {"name": name, "mode": mode, **figures}
            for name, result in zip(names, results, strict=True)
            for mode, figures in result["metrics"].items()
        ],
        prompts=side_by_side(results),
        times=[when(result["created"]) for result in results],
        version=__version__,
    )


def side_by_side(results: Sequence[dict[str, Any]]) -> list[tuple[str, list[list[dict[str, Any] | None]]]]:
    """For each prompt, a row for each way of choosing tokens with every model's sample; None where one lacks it."""
    found = [{(one["prompt"], one["mode"], one["seed"]): one for one in result["samples"]} for result in results]
    ways: dict[str, dict[tuple[str, int], None]] = {}
    for samples in found:
        for prompt, mode, seed in samples:
            ways.setdefault(prompt, {})[mode, seed] = None
    return [
        (prompt, [[samples.get((prompt, mode, seed)) for samples in found] for mode, seed in rows])
        for prompt, rows in ways.items()
    ]


def short_names(models: Sequence[str]) -> list[str]:
    """The paths without the folders that they begin with alike: of runs/a/checkpoints/step_1 and …/step_2 the steps."""
    parts = [Path(model).parts for model in models]
    shared = 0
    while all(len(one) > shared + 1 and one[shared] == parts[0][shared] for one in parts):
        shared += 1
    return [str(Path(*one[shared:])) for one in parts]
