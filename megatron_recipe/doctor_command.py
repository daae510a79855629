"""The command `doctor` with its options. cli.py registers it; beside the package, whose checks take long to import."""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    recipe: Annotated[str | None, typer.Argument(help="With --checklist: the recipe that is to start.")] = None,
    config: Annotated[Path | None, typer.Option(help="With --checklist: a run's config.yaml instead.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="With --checklist: as for train; may be repeated."),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="With --checklist: the run folder; as for train.")] = None,
    budget: Annotated[str | None, typer.Option(help="With --checklist: as for train, such as 3000cny.")] = None,
    price: Annotated[str | None, typer.Option(help="With --checklist: as for train, such as 5/h.")] = None,
    checklist: Annotated[
        bool, typer.Option("--checklist", help="Go through all that should be settled before a run is started.")
    ] = False,
    lang: Annotated[str, typer.Option(help="Of the checklist: en or zh.")] = "en",
    build: Annotated[bool, typer.Option("--build", help="What an image needs, without GPU or network.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what this machine has and lacks, and the fix for each. It only reads, so it has no --dry-run."""
    from megatron_recipe.doctor import CHECK_SECONDS, CHECKS, print_checks, run_doctor
    from megatron_recipe.errors import ConfigError

    if build and checklist:
        raise ConfigError("--build looks at an image and --checklist at a start: give one of them")
    if checklist:
        from megatron_recipe.doctor.checklist import checklist_of
        from megatron_recipe.train_options import overrides_of

        wanted = (*overrides_of(budget, price, None, [], None), *(overrides or ()))
        raise typer.Exit(print_checks(checklist_of(recipe, config, wanted, run_dir, lang), as_json))
    if recipe or config or overrides or run_dir or budget or price:
        raise ConfigError(
            "a recipe, --config, --set, --run-dir, --budget and --price belong to doctor --checklist; add it or leave "
            "them out"
        )
    if build:
        from megatron_recipe.doctor.build import BUILD_CHECKS, IMPORT_SECONDS

        raise typer.Exit(print_checks(run_doctor(BUILD_CHECKS, IMPORT_SECONDS), as_json))
    raise typer.Exit(print_checks(run_doctor(CHECKS, CHECK_SECONDS), as_json))
