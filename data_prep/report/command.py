"""The command `megatron-recipe data report`."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SAMPLE = 10_000


def report(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="A dataset, a work folder, or text files.")],
    out: Annotated[Path | None, typer.Option(help="The page. Default: report.html in the folder, or here.")] = None,
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    json: Annotated[Path | None, typer.Option(help="Write the same numbers as JSON too.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="Documents to measure, before and after; 0 for all.")] = (
        DEFAULT_SAMPLE
    ),
    seed: Annotated[int, typer.Option(help="Chooses the sample.")] = 0,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Count tokens with this .model or tokenizer.json. Default: the dataset's.")
    ] = None,
    work: Annotated[Path | None, typer.Option(help="The dataset's work folder. Default: work/NAME beside it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read and written.")] = False,
) -> None:
    """Write a page on a corpus: sizes, languages, duplicates, quality, what was kept and what was dropped for what.

    Counts of finished stages are exact; what is measured on a sample is shown with its 95 % interval.
    """
    from data_prep.report.write import write_report

    write_report(
        paths,
        out=out,
        lang=lang,
        json=json,
        sample=sample,
        seed=seed,
        tokenizer=tokenizer,
        work=work,
        dry_run=dry_run,
    )
