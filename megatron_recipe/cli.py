"""The one command, `megatron-recipe`. Run: megatron-recipe --help

Every import of a library is inside its command, so that help and checks answer at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from checkpoints_tools.cli import app as convert_app
from data_prep.cli import app as data_app
from eval.cli import app as eval_app
from megatron_recipe import console
from megatron_recipe.clouds.cli import app as launch_app
from megatron_recipe.doctor_command import doctor
from megatron_recipe.errors import RecipeError
from megatron_recipe.home_paths import with_home
from megatron_recipe.lab.cli import app as lab_app
from megatron_recipe.month.command import today

USER_ERROR, INTERRUPTED = 2, 130


class Commands(TyperGroup):
    """Says one line on Ctrl-C, which typer would turn into a silent exit."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            console.say("interrupted; run the same command again to continue")
            raise typer.Exit(INTERRUPTED) from interrupt


app = typer.Typer(
    name="megatron-recipe",
    cls=Commands,
    help="Pretrain a 100M-7B GPT from raw text: data, training, export, evaluation, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
app.add_typer(convert_app, name="convert")
app.add_typer(eval_app, name="eval")
app.add_typer(launch_app, name="launch")
app.add_typer(lab_app, name="lab")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would be done; do nothing.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change one value of the recipe; may be repeated."),
]

Reference = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Draw the band of this reference curve; or a file of `lab reference`."),
]


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="A recipe's name, or a YAML file's path.")] = None,
    config: Annotated[Path | None, typer.Option(help="A run's config.yaml, to repeat or continue that run.")] = None,
    overrides: Overrides = None,
    run_dir: Annotated[Path | None, typer.Option(help="Run folder; default runs/RECIPE, or the config's own.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Stop, decayed, when this is spent: 3000cny, 400usd, 40h, 20e9tokens.")
    ] = None,
    price: Annotated[str | None, typer.Option(help="Of the whole machine: 5/h, 2.5usd/h.")] = None,
    time_limit: Annotated[str | None, typer.Option(help="Save and stop in time: 23h30m.")] = None,
    skip_samples: Annotated[
        list[str] | None, typer.Option(metavar="FIRST:STOP", help="Leave out positions of the data; may be repeated.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="FIRST:STOP", help="Trace these steps with torch's profiler.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="Choose as for this card (h100_80 …) instead of the one here.")
    ] = None,
    auto_micro_batch: Annotated[
        bool, typer.Option("--auto-micro-batch", help="After an out-of-memory, go on with a smaller micro-batch.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Train, or continue a run: the newest good checkpoint in the run folder is taken up.

    One process; several are started by torchrun: `torchrun --nproc-per-node 8 launch/pretrain_1b.sh`.
    """
    console.outlive_reader()
    from megatron_recipe.train_command import train_command
    from megatron_recipe.train_options import overrides_of

    short = overrides_of(budget, price, time_limit, skip_samples or [], profile)
    wanted = (*short, *(overrides or ()))
    raise typer.Exit(
        train_command(recipe, config, wanted, run_dir, gpu, auto_micro_batch=auto_micro_batch, dry_run=dry_run)
    )


app.command()(doctor)
app.command()(today)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder, or the folder of a comparison.")],
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    out: Annotated[Path | None, typer.Option(help="The HTML file; default FOLDER/report.html.")] = None,
    retrospective: Annotated[
        bool, typer.Option("--retrospective", help="The run's retrospective instead: retrospective.html and .md.")
    ] = False,
    comparison: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Its findings go into the retrospective; may be repeated.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="Of the whole machine (5/h), for a retrospective without recorded prices.")
    ] = None,
    reference: Reference = None,
    dry_run: DryRun = False,
) -> None:
    """Write the report of a run or a comparison, one HTML file that opens anywhere, or a run's retrospective."""
    from megatron_recipe.report import report_command

    report_command(folder, lang, out, dry_run, retrospective, tuple(comparison or ()), price, reference)


@app.command()
def plan(
    recipe: Annotated[str | None, typer.Argument(help="A recipe's name, or a YAML file's path.")] = None,
    config: Annotated[Path | None, typer.Option(help="A run's config.yaml.")] = None,
    gpu: Annotated[str, typer.Option(help="The card: a100_40, a100_80, h100_80, 4090_24 …")] = "h100_80",
    gpus: Annotated[int, typer.Option(help="How many, over all machines.")] = 1,
    vocab_size: Annotated[
        int | None, typer.Option(help="The tokenizer's; default the dataset's, else 32,000.", show_default=False)
    ] = None,
    mfu: Annotated[float | None, typer.Option(help="Share of the BF16 peak, 0.4 or 40; default measured.")] = None,
    tokens: Annotated[float | None, typer.Option(help="Length of the run, such as 20e9.")] = None,
    overrides: Overrides = None,
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what a recipe needs and costs on a card. It only reads, so it has no --dry-run."""
    from megatron_recipe.plan.command import plan_command

    raise typer.Exit(
        plan_command(recipe, config, tuple(overrides or ()), gpu, gpus, vocab_size, mfu, tokens, lang, as_json)
    )


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end, as also without a terminal.")] = False,
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="Time between frames.")] = 2.0,
    reference: Reference = None,
) -> None:
    """Show a run live: curves, speed, cost, checkpoints, accidents. It only reads, so it has no --dry-run."""
    from megatron_recipe.watch import watch_command

    watch_command(run, once, lang, interval, reference)


@app.command()
def diagnose(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what is wrong with a run, most likely first. It only reads, so it has no --dry-run.

    Exit code 0: healthy, 1: something is wrong, 2: no run.
    """
    from megatron_recipe.diagnose import diagnose_command

    raise typer.Exit(diagnose_command(run, lang, as_json=as_json))


@app.command()
def sync(
    folder: Annotated[Path, typer.Argument(help="A run folder; with --to or --from also a dataset or an export.")],
    to: Annotated[str | None, typer.Option(metavar="PLACE", help="Copy there: user@host:path, remote:path.")] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="PLACE", help="Bring it back from there.")] = None,
    keep: Annotated[int, typer.Option(min=1, help="Checkpoints of a run that stay there.")] = 2,
    ssh_port: Annotated[int | None, typer.Option(help="Of user@host, where it is not 22.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Copy a run with its newest good checkpoint, verified (rsync, rclone); without a place: upload it to W&B."""
    from megatron_recipe.sync_command import sync_command

    raise typer.Exit(sync_command(folder, to, from_, keep, ssh_port, dry_run=dry_run))


@app.command()
def reference(
    out: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("docs"),
    dry_run: DryRun = False,
) -> None:
    """Write the reference pages of settings and commands: config.md, data_recipe.md, commands.md."""
    from megatron_recipe.reference import reference_command

    reference_command(out, dry_run)


@app.command()
def demo(
    source: Annotated[
        list[Path] | None, typer.Option(help="Your own JSONL, parquet or txt; may be repeated.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the dataset, the run and the export.")] = "demo",
    vocab_size: Annotated[int, typer.Option(help="Pieces of the tokenizer; less for a small corpus.")] = 4096,
    lang: Annotated[str, typer.Option(help="Language of the report: en or zh.")] = "en",
    overrides: Overrides = None,
    dry_run: DryRun = False,
) -> None:
    """Go the whole way on a laptop: text, tokenizer, dataset, training, export, evaluation, report."""
    from megatron_recipe.demo import demo_command

    raise typer.Exit(demo_command(tuple(source or ()), name, vocab_size, lang, tuple(overrides or ()), dry_run))


def main() -> None:
    """Entry point: user errors are one message and exit code 2."""
    from megatron_recipe.quiet import hush_libraries

    hush_libraries()
    try:
        app(with_home(sys.argv[1:]))
    except RecipeError as error:
        console.say(f"error: {error}")
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
