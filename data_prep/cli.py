"""The command `megatron-recipe data`: prepare, verify, inspect. Imports are in the commands: --help must be quick."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_prep.download.command import download
from data_prep.report.command import report
from data_prep.stream_command import stream
from data_prep.tokenizer_lab.command import tokenizers

if TYPE_CHECKING:
    from data_prep.recipe import DataRecipe

app = typer.Typer(no_args_is_help=True, help="Text → clean, deduplicated Megatron datasets with their tokenizer.")


app.command()(download)
app.command()(stream)
app.command()(report)
app.command()(tokenizers)


@app.command()
def prepare(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files or folders: JSONL, txt (also .gz, .zst, .xz), parquet."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A data recipe's name or YAML file. Default: documents, or web for web text.")
    ] = None,
    installed: Annotated[
        bool, typer.Option("--installed", help="Take the documentation installed with Python, and Chinese idioms.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The dataset's folder; appears when it is whole.")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Where stages keep results. Default: work/NAME beside --out's.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Pieces of the tokenizer to train: 4096 for a demo, 64000 for 1B.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Use this SentencePiece .model or tokenizer.json instead of training one.")
    ] = None,
    text_field: Annotated[
        str | None, typer.Option(help="Column of the SOURCEs that holds the text. Default: text.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; 0 for all cores. Changes no byte of the result.")
    ] = None,
    executor: Annotated[str | None, typer.Option(help="Where the tasks run: local, slurm or ray.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change one value of the recipe; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check sources and settings, say what would run.")] = False,
) -> None:
    """Collect, clean and deduplicate text, train a tokenizer on it, and write a Megatron dataset.

    A run that was stopped continues when the same command is given again; stages that are done are not run again.
    """
    from data_prep.recipe import load_recipe

    values = {
        "sources": [{"path": source, "text_field": text_field} for source in sources] if sources else None,
        "out": out,
        "work": work,
        "tokenizer.vocab_size": vocab_size,
        "tokenizer.file": tokenizer,
        "executor.workers": workers,
        "executor.kind": executor,
    }
    _prepare(load_recipe(recipe or "documents", values, tuple(overrides or ())), installed, dry_run)


def _prepare(recipe: "DataRecipe", installed: bool, dry_run: bool) -> None:
    from megatron_recipe.console import say
    from megatron_recipe.errors import ConfigError

    if bool(recipe.sources) == installed:
        raise ConfigError(
            "give files or folders to read (or a recipe with sources), or --installed for the installed documentation"
        )
    if dry_run:
        from data_prep.plan import describe

        for line in describe(recipe):
            say(line)
        return
    from data_prep.pipeline import prepare as run

    run(recipe)


@app.command()
def blend(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET...", help="Folders that `prepare` wrote.")],
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="Share of the mix for a dataset or a category; may be repeated."),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Others by tokens^ALPHA: 1 by size, 0 all alike, 0.7 raises small ones.")
    ] = 1.0,
    total_tokens: Annotated[
        float | None, typer.Option(help="Tokens the run will train on, for epochs. Default: all datasets once.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The mix, for `train --set data.datasets=FILE`.")] = Path("blend.yaml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the mix, write nothing.")] = False,
) -> None:
    """Write the weights of a mix of datasets, and say how often each would be repeated."""
    from data_prep.blend_command import blend_command

    blend_command(datasets, weight or [], alpha, total_tokens, None if dry_run else out)


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
    count: Annotated[int, typer.Option(min=0, help="Documents to show; 0 shows the counts only.")] = 3,
    seed: Annotated[int, typer.Option(help="Chooses the documents.")] = 0,
) -> None:
    """Show a dataset's counts and some documents, decoded from their ids. Changes nothing, so it has no --dry-run."""
    from data_prep.inspect_dataset import counts_table, samples

    for line in counts_table(dataset):
        typer.echo(line)
    for sample in samples(dataset, split, count, seed):
        typer.echo(f"\n{sample}")


@app.command()
def cache(
    recipe: Annotated[str | None, typer.Argument(help="A training recipe's name, or a YAML file's path.")] = None,
    config: Annotated[Path | None, typer.Option(help="A run's config.yaml.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change one value of the recipe; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built.")] = False,
) -> None:
    """Build the index files that a training run reads, beside its datasets, so that no GPU waits for them.

    Take the recipe and the --set of `megatron-recipe train`. What is there is not built again.
    """
    from megatron_recipe.data_cache import cache_command
    from megatron_recipe.recipes import load_config, one_of

    settings = load_config(one_of("data cache", recipe, config), tuple(overrides or ()))

    cache_command(settings, dry_run)


@app.command()
def who(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    step: Annotated[int, typer.Option(help="Step as in metrics.jsonl; the first is 1.")],
    samples: Annotated[int, typer.Option(min=0, help="Samples to show; 0 for the whole batch.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show which documents a step was trained on. Changes nothing, so it has no --dry-run."""
    from megatron_recipe.data_who import who_command

    who_command(run, step, samples, as_json)
