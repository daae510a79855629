"""The command `launch runpod`. A pod is known by its name, which the account has once."""

from pathlib import Path
from typing import Annotated

import typer

NAME = "megatron-recipe"
app = typer.Typer(no_args_is_help=True, help="Pods of RunPod; the key is in RUNPOD_API_KEY or RUNPOD_API_KEY_FILE.")
Name = Annotated[str, typer.Option(help="The pod's name.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, and say what would be sent; change nothing.")]


@app.command()
def up(
    image: Annotated[str, typer.Option(help="Container image, by its digest: registry/name@sha256:…")],
    gpu: Annotated[list[str], typer.Option(help="h100_80, a100_80, … or RunPod's name; repeat it in order of taste.")],
    run: Annotated[str, typer.Option(help="Launch file and arguments that the pod runs; empty waits for ssh.")] = "",
    gpus: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    volume: Annotated[str, typer.Option(help="Id of a network volume; the pod is then made where it lies.")] = "",
    mount: Annotated[str, typer.Option(help="Where the volume appears in the pod.")] = "/workspace",
    data_center: Annotated[list[str] | None, typer.Option(help="Where it may be; may be repeated.")] = None,
    cloud: Annotated[str, typer.Option(help="secure or community.")] = "secure",
    disk_gb: Annotated[int, typer.Option(min=5, help="The pod's own disk, which a restart empties.")] = 50,
    env: Annotated[list[str] | None, typer.Option(help="NAME (its value here) or NAME=VALUE; may be repeated.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="Exposed besides 22/tcp and 6006/http.")] = None,
    registry: Annotated[str, typer.Option(help="Id of the credential for a private image.")] = "",
    min_cuda: Annotated[str, typer.Option(help="Lowest CUDA version of the host's driver, such as 12.8.")] = "",
    max_price: Annotated[float, typer.Option(min=0, help="USD an hour for the whole pod; 0 is no limit.")] = 0.0,
    bid: Annotated[float, typer.Option(min=0, help="Rent a spot pod for at most this, USD an hour and GPU.")] = 0.0,
    keep: Annotated[bool, typer.Option("--keep", help="With --bid: stay, and get it back when it is taken.")] = False,
    idle_minutes: Annotated[float, typer.Option(min=0, help="With --run: stop the pod when it idles; 0 never.")] = 30.0,
    name: Name = NAME,
    dry_run: DryRun = False,
) -> None:
    """Rent a pod; an existing one of this name is started again."""
    from megatron_recipe.clouds.runpod_command import Order, up_command

    order = Order(
        image=image, gpus=tuple(gpu), run=run, count=gpus, volume=volume, mount=mount, data_centers=data_center or [],
        cloud=cloud, disk_gb=disk_gb, env=env or [], ports=port or [], registry=registry, min_cuda=min_cuda,
        max_price=max_price, bid=bid, keep=keep, idle_minutes=idle_minutes, name=name,
    )  # fmt: skip
    up_command(order, dry_run=dry_run)


@app.command()
def status(name: Name = NAME) -> None:
    """Say what the pod does, and what it costs. It only reads, so it has no --dry-run."""
    from megatron_recipe.clouds.runpod_command import status_command

    status_command(name)


@app.command()
def logs(
    name: Name = NAME,
    tail: Annotated[int, typer.Option(min=0, max=5000, help="Lines of the past.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
) -> None:
    """Print what the pod has said. It only reads, so it has no --dry-run."""
    from megatron_recipe.clouds.runpod_command import logs_command

    logs_command(name, tail, follow=follow)


@app.command()
def ssh(name: Name = NAME, dry_run: DryRun = False) -> None:
    """Open a shell in the pod."""
    from megatron_recipe.clouds.runpod_command import ssh_command

    ssh_command(name, dry_run=dry_run)


@app.command()
def sync(
    folder: Annotated[Path, typer.Argument(help="A run or a dataset of this machine, such as runs/gpt_1b.")],
    remote: Annotated[str, typer.Option(help="Folder in the pod that holds it.")] = "/workspace/runs",
    to_pod: Annotated[bool, typer.Option("--to-pod", help="Copy it to the pod instead of bringing it here.")] = False,
    name: Name = NAME,
    dry_run: DryRun = False,
) -> None:
    """Bring a run from the pod, or a dataset to it, verified."""
    from megatron_recipe.clouds.runpod_command import sync_command

    sync_command(name, folder, remote, to_pod=to_pod, dry_run=dry_run)


@app.command()
def down(
    name: Name = NAME,
    terminate: Annotated[bool, typer.Option("--terminate", help="Delete the pod and its disk; volumes stay.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Stop the pod; its disk stays and is paid for."""
    from megatron_recipe.clouds.runpod_command import down_command

    down_command(name, terminate=terminate, dry_run=dry_run)
