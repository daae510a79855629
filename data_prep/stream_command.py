"""The command `megatron-recipe data stream`."""

from pathlib import Path
from typing import Annotated

import typer

from data_prep.download.command import Mirror, Token


def stream(
    dataset: Annotated[str, typer.Argument(help="A dataset's name; `data download` lists those known.")],
    tokenizer: Annotated[Path, typer.Option(help="A SentencePiece .model or a tokenizer.json.")],
    subset: Annotated[str | None, typer.Option(help="Part of the dataset. Default: its first.")] = None,
    out: Annotated[Path | None, typer.Option(help="The Megatron dataset. Default: datasets/DATASET.")] = None,
    max_tokens: Annotated[float | None, typer.Option(help="Stop after the file that reaches them; 2e9, say.")] = None,
    recipe: Annotated[str, typer.Option(help="A data recipe's name or YAML file; its sources are not read.")] = "web",
    mirror: Mirror = None,
    token: Token = None,
    workers: Annotated[int | None, typer.Option(help="Files tokenized at a time; 0 for all cores.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a value of the recipe.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files, fetch and write nothing.")] = False,
) -> None:
    """Fetch a dataset file by file, tokenize each and delete it: for disks that cannot hold its text.

    A run that was stopped goes on when the same command is given again.
    """
    from data_prep.download.choose import Limits
    from data_prep.download.download import plan
    from data_prep.download.hub import open_hub
    from data_prep.download.shards import stream_shards
    from data_prep.recipe import load_recipe
    from data_prep.sources.catalog import find_dataset
    from data_prep.stream import stream as run
    from megatron_recipe.console import say
    from megatron_recipe.errors import ConfigError

    found = find_dataset(dataset)
    if found.by_hand:
        raise ConfigError(f"{dataset} cannot be streamed: {found.by_hand.format(out=f'corpora/{found.name}')}")
    folder = out or Path("datasets") / found.name
    values = {"out": folder, "tokenizer.file": tokenizer, "executor.workers": workers}
    settings = load_recipe(recipe, values, tuple(overrides or ()))
    shards = settings.work.with_name(f"{settings.work.name}_shards")
    hub = open_hub(mirror, token, found.is_gated)
    wanted = plan(found, found.subset(subset), hub, shards, Limits(None, None))
    say(f"{found.title}: {len(wanted.files):,} files, {wanted.bytes / 1e9:,.3g} GB, {found.license}")
    if dry_run:
        for file in wanted.files:
            typer.echo(f"{file.bytes:>15,}  {file.path}")
        return
    result = run(settings, stream_shards(wanted), Path.unlink, int(max_tokens) if max_tokens else None)
    say(f"{folder}: kept {result.documents_out:,} of {result.documents_in:,} documents of {result.summary}")
