"""The reference page of all commands, made from the command line itself. megatron_recipe/reference.py writes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import typer

from megatron_recipe.errors import ConfigError

FLAG = "flag"


@dataclass(frozen=True)
class CommandsPage:
    """Every command with its arguments, options, values and defaults."""

    file: str
    app: typer.Typer

    def text(self) -> str:
        """The page as Markdown."""
        root = typer.main.get_command(self.app)
        lines = [
            "# Commands",
            "",
            f"{root.help} `-h` or `--help` after any command says the same in the terminal. Exit code 0: done; 1: "
            "done, and something is not as it should be (a failed run, a failed check); 2: refused, with one message "
            "that names the field, its value, the rule and the remedy; 130: interrupted, the same command continues.",
            "",
            "Made from the code by `python -m megatron_recipe.reference docs`; do not edit.",
        ]
        for path, command in commands(root):
            lines += ["", *section((root.name or "", *path), command)]
        return "\n".join(lines) + "\n"


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands and groups below one, each group before what it holds."""
    for name, inner in getattr(command, "commands", {}).items():
        yield (*path, name), inner
        yield from commands(inner, (*path, name))


def section(path: tuple[str, ...], command: Any) -> list[str]:
    """One command: what it does, how it is called, what it takes."""
    name = " ".join(path[1:])
    if not command.help:
        raise ConfigError(f"the command {name} has no docstring: say in one line what it does")
    lines = [f"{'#' * len(path)} {name}", "", *paragraphs(command.help)]
    if getattr(command, "commands", None):
        return lines
    arguments = [argument_name(parameter) for parameter in command.params if is_argument(parameter)]
    lines += ["", "```", " ".join((*path, *arguments)), "```", ""]
    rows = [row(name, parameter) for parameter in command.params if not parameter.hidden]
    if not rows:
        return lines[:-1]
    return [*lines, "| argument or option | value | default | meaning |", "|---|---|---|---|", *rows]


def paragraphs(text: str) -> list[str]:
    """A docstring with each paragraph in one line."""
    folded = (" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))
    return "\n\n".join(folded).split("\n")


def is_argument(parameter: Any) -> bool:
    """Whether a value is known by its place, and not by a name with dashes."""
    return not parameter.opts[0].startswith("-")


def argument_name(parameter: Any) -> str:
    """An argument as one line of usage has it: RUN, [RECIPE], [SOURCE]..."""
    if parameter.metavar:
        return str(parameter.metavar)
    name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def row(command: str, parameter: Any) -> str:
    """One argument or option as a line of the table. Raises ConfigError for one without a help text."""
    shown = argument_name(parameter) if is_argument(parameter) else ", ".join(parameter.opts)
    if not parameter.help:
        raise ConfigError(f"{command} {shown} has no help: say what it means and its unit")
    cells = (f"`{shown}`", value(parameter), default(parameter), parameter.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def value(parameter: Any) -> str:
    """What may be given: its form, or its type, and its range."""
    if getattr(parameter, "is_flag", False):
        return FLAG
    from megatron_recipe.reference import type_words

    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is list:
        (annotation,) = get_args(annotation)
    shows_form = parameter.metavar and not is_argument(parameter)
    words = f"`{parameter.metavar}`" if shows_form else type_words(annotation)
    bounds = [f"{sign} {bound}" for sign, bound in (("≥", parameter.min), ("≤", parameter.max)) if bound is not None]
    return ", ".join((words, *bounds))


def default(parameter: Any) -> str:
    """What holds where it is not given; nothing for a flag, or where the meaning says it."""
    if parameter.required:
        return "must be given"
    if parameter.default in (None, False, [], ()):
        return ""
    return f"`{parameter.default}`"
