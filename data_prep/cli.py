"""The command `megatron-recipe data`: prepare, verify, inspect. Imports are in the commands: --help must be quick."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Text → clean, deduplicated Megatron datasets with their tokenizer.")


@app.command()
def prepare(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files or folders: JSONL, txt (also .gz, .zst, .xz), parquet."),
    ] = None,
    installed: Annotated[
        bool, typer.Option("--installed", help="Take the documentation installed with Python, and Chinese idioms.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The dataset's folder; appears when it is whole.")] = Path("datasets/mine"),
    work: Annotated[
        Path | None, typer.Option(help="Where stages keep results. Default: work/NAME beside --out's.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(help="Pieces of the tokenizer: 4096 for a demo, 64000 for 1B.")] = 4096,
    validation_share: Annotated[float, typer.Option(help="Share of the documents held out.")] = 0.02,
    min_characters: Annotated[int, typer.Option(help="Drop documents with fewer, white space left out.")] = 20,
    near_threshold: Annotated[
        float, typer.Option(help="Jaccard similarity of 5-character shingles from which a document is a copy.")
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="Chooses the held-out documents.")] = 1234,
    workers: Annotated[int, typer.Option(help="Processes; 0 for all cores. Changes no byte of the result.")] = 0,
    text_field: Annotated[str, typer.Option(help="Column of JSONL and parquet that holds the text.")] = "text",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check sources and settings, say what would run.")] = False,
) -> None:
    """Collect, clean and deduplicate text, train a tokenizer on it, and write a Megatron dataset.

    A run that was stopped continues when the same command is given again; stages that are done are not run again.
    """
    from data_prep.recipe import DataRecipe
    from megatron_recipe.console import say
    from megatron_recipe.errors import ConfigError

    if bool(sources) == installed:
        raise ConfigError("give either files or folders to read, or --installed for the installed documentation")
    recipe = DataRecipe(
        sources=tuple(sources or ()),
        out=out,
        work=work or out.absolute().parent.parent / "work" / out.name,
        vocab_size=vocab_size,
        validation_share=validation_share,
        min_characters=min_characters,
        near_threshold=near_threshold,
        seed=seed,
        workers=workers,
        text_field=text_field,
    )
    if dry_run:
        from data_prep.plan import describe

        for line in describe(recipe):
            say(line)
        return
    from data_prep.pipeline import prepare as run

    run(recipe)


@app.command()
def verify(dataset: Annotated[Path, typer.Argument(help="Folder of a dataset.")]) -> None:
    """Read a dataset again and compare everything with its manifest. Changes nothing, so it has no --dry-run."""
    from data_prep.verify import verify as check
    from megatron_recipe.console import say

    say(check(dataset))


@app.command()
def inspect(
    dataset: Annotated[Path, typer.Argument(help="Folder of a dataset.")],
    split: Annotated[str, typer.Option(help="train or validation.")] = "train",
    count: Annotated[int, typer.Option(help="Documents to show; 0 shows the counts only.")] = 3,
    seed: Annotated[int, typer.Option(help="Chooses the documents.")] = 0,
) -> None:
    """Show a dataset's counts and some documents, decoded from their ids. Changes nothing, so it has no --dry-run."""
    from data_prep.inspect_dataset import counts_table, samples

    for line in counts_table(dataset):
        typer.echo(line)
    for sample in samples(dataset, split, count, seed):
        typer.echo(f"\n{sample}")
