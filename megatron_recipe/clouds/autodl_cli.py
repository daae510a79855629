"""The command `launch autodl`. A machine is known by its name."""

from pathlib import Path
from typing import Annotated

import typer

NAME = "megatron-recipe"
app = typer.Typer(
    no_args_is_help=True,
    help="Instances (Pro) of AutoDL, and elastic deployments of companies; the token is in AUTODL_TOKEN or "
    "AUTODL_TOKEN_FILE. An ordinary instance has no API: see docs/clouds.md.",
)
Name = Annotated[str, typer.Option(help="The machine's name.")]
Elastic = Annotated[bool, typer.Option("--elastic", help="An elastic deployment (企业认证) instead of an instance.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, and say what would be sent; change nothing.")]


@app.command()
def up(
    image: Annotated[str, typer.Option(help="Id of an image that was saved on AutoDL: image-…")],
    gpu: Annotated[list[str], typer.Option(help="h800_80, pro6000_96, 4090_48, … or AutoDL's name; may be repeated.")],
    run: Annotated[str, typer.Option(help="Launch file and arguments that the machine runs; empty waits.")] = "",
    gpus: Annotated[int, typer.Option(min=1, help="How many; instances have at most 4.")] = 1,
    data_center: Annotated[list[str] | None, typer.Option(help="westDC3, beijingDC2, …; may be repeated.")] = None,
    max_price: Annotated[float, typer.Option(min=0, help="Yuan an hour for the machine; 0 is no limit.")] = 0.0,
    cuda_from: Annotated[int, typer.Option(help="Lowest CUDA version of the driver, 128 for 12.8.")] = 128,
    system_disk_gb: Annotated[int, typer.Option(min=0, max=500, help="Added to the 30 GB of the system disk.")] = 0,
    idle_minutes: Annotated[float, typer.Option(min=0, help="With --run: shut down when it idles; 0 never.")] = 30.0,
    elastic: Elastic = False,
    name: Name = NAME,
    dry_run: DryRun = False,
) -> None:
    """Rent a machine; an existing one of this name is started again."""
    from megatron_recipe.clouds.autodl_command import up_command
    from megatron_recipe.clouds.autodl_rent import InstanceWish

    wish = InstanceWish(
        name, image, tuple(gpu), gpus, tuple(data_center or ()), "", max_price, cuda_from, system_disk_gb
    )
    up_command(wish, run, idle_minutes, elastic=elastic, dry_run=dry_run)


@app.command()
def status(name: Name = NAME, elastic: Elastic = False) -> None:
    """Say what the machine does, and what it costs. It only reads, so it has no --dry-run."""
    from megatron_recipe.clouds.autodl_command import status_command

    status_command(name, elastic=elastic)


@app.command()
def logs(
    name: Name = NAME,
    elastic: Elastic = False,
    tail: Annotated[int, typer.Option(min=0, help="Lines of the past.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Print what the run on it has said, by ssh: AutoDL's API has no logs."""
    from megatron_recipe.clouds.autodl_command import logs_command

    logs_command(name, tail, elastic=elastic, follow=follow, dry_run=dry_run)


@app.command()
def ssh(name: Name = NAME, elastic: Elastic = False, dry_run: DryRun = False) -> None:
    """Open a shell on it, with your key (控制台 → SSH 公钥); passwords are never shown."""
    from megatron_recipe.clouds.autodl_command import ssh_command

    ssh_command(name, elastic=elastic, dry_run=dry_run)


@app.command()
def sync(
    folder: Annotated[Path, typer.Argument(help="A run or a dataset of this machine, such as runs/gpt_1b.")],
    remote: Annotated[str, typer.Option(help="Folder on the machine that holds it.")] = "/root/autodl-tmp/runs",
    to_machine: Annotated[
        bool, typer.Option("--to-machine", help="Copy it there instead of bringing it here.")
    ] = False,
    elastic: Elastic = False,
    name: Name = NAME,
    dry_run: DryRun = False,
) -> None:
    """Bring a run from the machine, or a dataset to it, verified."""
    from megatron_recipe.clouds.autodl_command import sync_command

    sync_command(name, folder, remote, elastic=elastic, to_machine=to_machine, dry_run=dry_run)


@app.command()
def image(
    image_name: Annotated[str, typer.Argument(help="Name of the new image.")],
    name: Name = NAME,
    dry_run: DryRun = False,
) -> None:
    """Save the system disk of an instance as an image (保存镜像)."""
    from megatron_recipe.clouds.autodl_command import image_command

    image_command(name, image_name, dry_run=dry_run)


@app.command()
def down(
    name: Name = NAME,
    elastic: Elastic = False,
    release: Annotated[bool, typer.Option("--release", help="Delete it, with its disk.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Shut it down; an instance's disk stays."""
    from megatron_recipe.clouds.autodl_command import down_command

    down_command(name, elastic=elastic, release=release, dry_run=dry_run)
