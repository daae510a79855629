"""The command `lab`: comparisons of settings, and incidents. Imports are in the commands: --help must be quick."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="What each choice changes: comparisons of settings, with error bars; training broken on purpose.",
)


JOBS = "Runs at a time, on each GPU or on the CPU; default one a GPU or a core."


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="A ready comparison (lab list), or a YAML file's path.")],
    recipe: Annotated[str | None, typer.Option(help="Recipe that all settings begin with; default the file's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change one value for all; may be repeated."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset folder of all settings; default the recipe's.")] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="A source of a data mix; may be repeated.")
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:SHARE,…", help="A mix of sources; may be repeated. Default: each source alone."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(metavar="1,2,3", help="A run of each setting on each.")] = None,
    tokens: Annotated[float | None, typer.Option(min=1, help="Training tokens of every run, such as 100e6.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Of the intervals; default 0.95.")] = None,
    target_loss: Annotated[float | None, typer.Option(help="Count the steps to this held-out loss.")] = None,
    price: Annotated[str | None, typer.Option(help="Of the whole machine (of a task with --slurm): 5/h.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the comparison; default comparisons/NAME.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help=JOBS)] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="How many to use; default all, 0 is the CPU.")] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Submit the runs as a Slurm array.")] = False,
    sbatch: Annotated[
        list[str] | None, typer.Option(metavar="OPTION", help="For sbatch, --sbatch=--gpus=1; may be repeated.")
    ] = None,
    only: Annotated[int | None, typer.Option(min=0, help="Do one run, by its number; what Slurm's tasks do.")] = None,
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, show the runs, do nothing.")] = False,
) -> None:
    """Run settings against each other on equal tokens and several seeds, and say what differs.

    Finished runs stay; the same command again does what is left.
    """
    from megatron_recipe.lab.asked import Asked
    from megatron_recipe.lab.compare_command import compare_command

    asked = Asked(
        name=name,
        recipe=recipe,
        overrides=tuple(overrides or ()),
        dataset=dataset,
        data=tuple(data or ()),
        mixes=tuple(mix or ()),
        seeds=seeds,
        tokens=tokens,
        confidence=confidence,
        target_loss=target_loss,
        price=price,
        out=out,
        jobs=jobs,
        gpus=gpus,
        slurm=slurm,
        sbatch=tuple(sbatch or ()),
        only=only,
        lang=lang,
        dry_run=dry_run,
    )
    raise typer.Exit(compare_command(asked))


IncidentRecipe = Annotated[str, typer.Option(help="Recipe that all runs begin with.")]
IncidentOverrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change one value for all runs.")
]
IncidentData = Annotated[str | None, typer.Option(help="Dataset folder of all runs; default the recipe's.")]
IncidentSeed = Annotated[int, typer.Option(min=0, help="Of initial weights and sample order, the same for all runs.")]
IncidentTokens = Annotated[
    float | None, typer.Option(min=1, help="Of every run; default 200 steps' on a CPU, 400 steps' on a GPU.")
]
Jobs = Annotated[int | None, typer.Option(min=1, help=JOBS)]
Gpus = Annotated[int | None, typer.Option(min=0, help="How many to use; default all, 0 is the CPU.")]
Language = Annotated[str, typer.Option(help="en or zh.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, show the runs, do nothing.")]


@app.command()
def incident(
    name: Annotated[str, typer.Argument(help="A ready incident (lab list), or a YAML file's path.")],
    recipe: IncidentRecipe = "gpt_tiny_cpu",
    overrides: IncidentOverrides = None,
    data: IncidentData = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the incident; default incidents/NAME.")] = None,
    seed: IncidentSeed = 1,
    tokens: IncidentTokens = None,
    jobs: Jobs = None,
    gpus: Gpus = None,
    lang: Language = "en",
    dry_run: DryRun = False,
) -> None:
    """Break a training on purpose, next to a healthy one, then mend it; write down what was seen.

    Finished runs stay; the same command again does what is left.
    """
    from megatron_recipe.lab.incident_command import Options, incident_command

    options = Options((name,), recipe, tuple(overrides or ()), data, out, seed, tokens, jobs, gpus, lang, dry_run)
    raise typer.Exit(incident_command(options))


@app.command("all")
def all_incidents(
    recipe: IncidentRecipe = "gpt_tiny_cpu",
    overrides: IncidentOverrides = None,
    data: IncidentData = None,
    out: Annotated[Path | None, typer.Option(help="Folder of them all; default incidents.")] = None,
    seed: IncidentSeed = 1,
    tokens: IncidentTokens = None,
    jobs: Jobs = None,
    gpus: Gpus = None,
    lang: Language = "en",
    dry_run: DryRun = False,
) -> None:
    """Run all incidents, and write the summary: best practices and the table of diagnoses, with the evidence."""
    from megatron_recipe.lab.incident_command import Options, incident_command

    options = Options((), recipe, tuple(overrides or ()), data, out, seed, tokens, jobs, gpus, lang, dry_run)
    raise typer.Exit(incident_command(options))


@app.command("list")
def list_ready(lang: Annotated[str, typer.Option(help="en or zh.")] = "en") -> None:
    """Name the ready comparisons and incidents. It only reads, so it has no --dry-run."""
    from megatron_recipe.lab.listing import list_command

    list_command(lang)


@app.command()
def reference(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs that differ in their seeds alone, two or more.")],
    out: Annotated[Path, typer.Option(help="The .json file to write.")],
    name: Annotated[str | None, typer.Option(help="How it is called where it is drawn; default the file's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, show what it would hold.")] = False,
) -> None:
    """Make a reference curve of finished runs: `watch` and `report` draw its band with --reference."""
    from megatron_recipe.lab.reference_command import reference_command

    reference_command(runs, out, name, dry_run=dry_run)
