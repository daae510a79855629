"""The command `launch lambda`. An instance is known by its name."""

from pathlib import Path
from typing import Annotated

import typer

NAME = "megatron-recipe"
app = typer.Typer(
    no_args_is_help=True, help="Instances of Lambda; the key is in LAMBDA_API_KEY or LAMBDA_API_KEY_FILE."
)
Name = Annotated[str, typer.Option(help="The instance's name.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, and say what would be sent; change nothing.")]


@app.command()
def up(
    type_: Annotated[list[str], typer.Option("--type", help="gpu_1x_h100_sxm5, …; repeat it in order of taste.")],
    file_system: Annotated[str, typer.Option(help="Its name: what stays, and where the instance is rented.")],
    ssh_key: Annotated[
        str, typer.Option(help="Name of a public key of the account; needed where it has several.")
    ] = "",
    max_price: Annotated[float, typer.Option(min=0, help="USD an hour for the instance; 0 is no limit.")] = 0.0,
    name: Name = NAME,
    dry_run: DryRun = False,
) -> None:
    """Rent an instance where the file system is; `run`, `ssh` and `sync` wait until it answers."""
    from megatron_recipe.clouds.lambda_command import InstanceOrder, up_command

    up_command(InstanceOrder(name, tuple(type_), file_system, ssh_key, max_price), dry_run=dry_run)


@app.command()
def run(
    file: Annotated[str, typer.Argument(help="Launch file and arguments, as one word.")],
    image: Annotated[str, typer.Option(help="Container image, by its digest: registry/name@sha256:…")],
    name: Name = NAME,
    dry_run: DryRun = False,
) -> None:
    """Start a launch file in a container of the image; the file system is /workspace in it."""
    from megatron_recipe.clouds.lambda_command import run_command

    run_command(name, file, image, dry_run=dry_run)


@app.command()
def status(name: Name = NAME) -> None:
    """Say what the instance does, and what it costs. It only reads, so it has no --dry-run."""
    from megatron_recipe.clouds.lambda_command import status_command

    status_command(name)


@app.command()
def logs(
    name: Name = NAME,
    tail: Annotated[int, typer.Option(min=0, help="Lines of the past.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Print what the run has said, by ssh."""
    from megatron_recipe.clouds.lambda_command import logs_command

    logs_command(name, tail, follow=follow, dry_run=dry_run)


@app.command()
def ssh(name: Name = NAME, dry_run: DryRun = False) -> None:
    """Open a shell on it."""
    from megatron_recipe.clouds.lambda_command import door

    door(name).enter(dry_run=dry_run)


@app.command()
def sync(
    folder: Annotated[Path, typer.Argument(help="A run or a dataset of this machine, such as runs/gpt_1b.")],
    remote: Annotated[str, typer.Option(help="Folder of the file system that holds it.")] = "runs",
    to_machine: Annotated[
        bool, typer.Option("--to-machine", help="Copy it there instead of bringing it here.")
    ] = False,
    name: Name = NAME,
    dry_run: DryRun = False,
) -> None:
    """Bring a run from the file system, or a dataset to it, verified."""
    from megatron_recipe.clouds.lambda_command import sync_command

    sync_command(name, folder, remote, to_machine=to_machine, dry_run=dry_run)


@app.command()
def down(name: Name = NAME, dry_run: DryRun = False) -> None:
    """Terminate it: its own disk is gone, the file system stays."""
    from megatron_recipe.clouds.lambda_command import down_command

    down_command(name, dry_run=dry_run)
