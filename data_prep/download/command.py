"""The command `megatron-recipe data download`."""

import math
from pathlib import Path
from typing import Annotated

import typer

Mirror = Annotated[
    str | None,
    typer.Option(help="hf-mirror, modelscope, or an address that speaks Hugging Face's API. Default: $HF_ENDPOINT."),
]
Token = Annotated[
    str | None, typer.Option(help="For gated sets. Default: $HF_TOKEN, or that of `hf auth login`.", show_default=False)
]
Connections = Annotated[int, typer.Option(min=1, max=32, help="Files fetched at the same time.")]


def download(
    dataset: Annotated[str | None, typer.Argument(help="A dataset's name; without one, lists those known.")] = None,
    subset: Annotated[str | None, typer.Option(help="Part of the dataset. Default: its first.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for its files. Default: corpora/DATASET.")] = None,
    max_gb: Annotated[float | None, typer.Option(help="At most this many GB (10^9 bytes), in whole files.")] = None,
    max_tokens: Annotated[
        float | None, typer.Option(help="Files until about this many tokens, estimated by their size; 2e9 say.")
    ] = None,
    mirror: Mirror = None,
    token: Token = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit. Default: that begun, or main.")] = None,
    connections: Connections = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be fetched, fetch nothing.")] = False,
) -> None:
    """Fetch a dataset, with checksums; a run that was stopped goes on when the same command is given again."""
    from data_prep.sources.catalog import describe, find_dataset
    from megatron_recipe.console import say

    if dataset is None:
        for line in describe():
            typer.echo(line)
        return
    from data_prep.download.choose import Limits
    from data_prep.download.download import download as run
    from data_prep.download.download import plan, size
    from data_prep.download.hub import open_hub

    found = find_dataset(dataset)
    part = found.subset(subset)
    folder = out or Path("corpora") / found.name
    if found.by_hand:
        from data_prep.download.by_hand import register

        registered = register(found, folder, dry_run)
        say(f"{folder}: {len(registered.files):,} files of {found.title} checked; {found.license}, see {found.home}")
        return
    limits = Limits(
        None if max_gb is None else math.floor(max_gb * 1e9), None if max_tokens is None else math.ceil(max_tokens)
    )
    hub = open_hub(mirror, token, found.is_gated)
    wanted = plan(found, part, hub, folder, limits, revision)
    say(
        f"{found.title} ({part.name}) from {hub.endpoint}: {len(wanted.files):,} files, {size(wanted.bytes)}, "
        f"about {wanted.record.tokens or 0:,} tokens (estimated by size); licence: {found.license}"
    )
    if dry_run:
        for file in wanted.files:
            typer.echo(f"{file.bytes:>15,}  {file.path}")
        return
    done = run(wanted, connections)
    say(
        f"{folder}: {len(done.files):,} files, {size(wanted.bytes)}, {done.tokens or 0:,} tokens "
        f"({done.tokens_are}); text in the column {done.text_field!r}; next: megatron-recipe data prepare {folder}"
    )
