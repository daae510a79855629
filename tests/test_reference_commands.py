"""The page of commands: every command and option of the real command line is on it, with what holds for it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer

from megatron_recipe.cli import app
from megatron_recipe.errors import ConfigError
from megatron_recipe.reference_commands import CommandsPage


def page(*functions: Any) -> str:
    """The page of a small command line: each function is a command below `group`."""
    small, group = typer.Typer(name="small", help="Small."), typer.Typer(help="A group.")
    for function in functions:
        group.command()(function)
    small.add_typer(group, name="group")
    small.command("alone")(functions[0])
    return CommandsPage("small.md", small).text()


def count(
    run: Annotated[Path, typer.Argument(help="A folder.")],
    kind: Annotated[Literal["a", "b"], typer.Option(help="Of what | or not.")] = "a",
    rounds: Annotated[int, typer.Option(min=1, max=9, help="Rounds.")] = 3,
    names: Annotated[list[str] | None, typer.Option("--name", metavar="NAME", help="May be repeated.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing.")] = False,
) -> None:
    """Count something,
    and say it.

    More words.
    """


def test_a_command_with_arguments_options_ranges_and_defaults() -> None:
    text = page(count)
    below = text.split("### group count\n")[1]
    assert below.startswith("\nCount something, and say it.\n\nMore words.\n\n```\nsmall group count RUN\n```\n")
    assert [line for line in below.splitlines() if line.startswith("| `")] == [
        "| `RUN` | path | must be given | A folder. |",
        "| `--kind` | `a` or `b` | `a` | Of what \\| or not. |",
        "| `--rounds` | integer, ≥ 1, ≤ 9 | `3` | Rounds. |",
        "| `--name` | `NAME` |  | May be repeated. |",
        "| `--quiet` | flag |  | Say nothing. |",
    ]
    assert "## group\n\nA group.\n\n### group count" in text and "\n## alone\n" in text


def test_every_command_and_option_is_on_the_page() -> None:
    """Counted in typer's own registrations, which know nothing of the page."""
    text = CommandsPage("commands.md", app).text()

    def names(typer_app: typer.Typer, before: str = "") -> list[str]:
        own = [c.name or c.callback.__name__.replace("_", "-") for c in typer_app.registered_commands if c.callback]
        inner = [name for g in typer_app.registered_groups for name in names(g.typer_instance, f"{before}{g.name} ")]
        return [before + name for name in own] + inner

    headings = {line.lstrip("# ") for line in text.splitlines() if line.startswith("##")}
    assert len(names(app)) > 40 and set(names(app)) <= headings
    assert text.count("`--dry-run`") > 15


def silent(size: Annotated[int, typer.Option()] = 1) -> None:
    """Something."""


def nameless() -> None: ...


@pytest.mark.parametrize(
    ("command", "words"), [(silent, "alone --size has no help"), (nameless, "the command alone has no docstring")]
)
def test_what_has_no_words_is_named(command: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        page(command)
