"""The command `launch`: rent machines, look at them, and run on them unattended."""

from typing import Annotated

import typer

from megatron_recipe.clouds.autodl_cli import app as autodl_app
from megatron_recipe.clouds.lambda_cli import app as lambda_app
from megatron_recipe.clouds.runpod_cli import app as runpod_app

app = typer.Typer(
    no_args_is_help=True, help="Rented machines: RunPod, AutoDL, Lambda, and what runs on them unattended."
)
app.add_typer(runpod_app, name="runpod")
app.add_typer(autodl_app, name="autodl")
app.add_typer(lambda_app, name="lambda")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A launch file, such as launch/pretrain_1b.sh; its arguments follow.")],
    idle_minutes: Annotated[
        float, typer.Option(min=0, help="Shut this machine down when it did nothing for so long; 0 never.")
    ] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """On the rented machine: run a launch file, again after a crash, and shut down a machine that idles."""
    from megatron_recipe.clouds.unattended import run_unattended

    raise typer.Exit(run_unattended(file, context.args, idle_minutes, dry_run=dry_run))
