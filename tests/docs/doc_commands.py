"""The commands that a page shows, and what is wrong with one: nothing is run, click only reads it."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import typer
from doc_pages import ROOT
from pydantic import BaseModel

from data_prep.recipe import DataRecipe
from docs.generator.markdown import blocks, codes
from megatron_recipe.cli import app
from megatron_recipe.config import Config
from megatron_recipe.recipes import RECIPES

USAGE_ERROR = typer.BadParameter.__mro__[1]
"""What typer raises for a line that it cannot read: its own copy of click's UsageError, which it does not name."""
START = re.compile(r"(?:\S*/)?(megatron-recipe|make|bash|torchrun|python|sbatch|pip)$|\./launch/")
LEFT_OUT = re.compile(r"…|\.\.\.|^(ARGS|参数)$")
PLACEHOLDER = re.compile(r"…|\b[A-Z][A-Z_]+\b|\$|[一-鿿]|RECIPE")
JOINING = {"&&", ";", "|", "||"}


@cache
def command_line() -> Any:
    return typer.main.get_command(app)


def statements(text: str) -> Iterator[str]:
    """The statements of a shell text: a backslash, or a quote that is open, goes on in the next line."""
    waiting = ""
    for line in text.replace("\\\n", " ").splitlines():
        waiting = f"{waiting}\n{line}" if waiting else line.strip()
        try:
            shlex.split(waiting, comments=True)
        except ValueError:
            continue
        yield waiting
        waiting = ""
    if waiting:
        yield waiting.splitlines()[0]


def simple_commands(statement: str) -> Iterator[list[str]]:
    """The words of each command in a statement, without variables before it and redirections after it."""
    try:
        words = shlex.split(statement, comments=True)
    except ValueError:
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if word in JOINING or word.startswith((">", "2>")) or word == "&":
            if command:
                yield command
            command = []
        elif command or not re.match(r"^(\w+=|\$$|sudo$|nohup$|time$)", word):
            command.append(word)


def shown(text: str) -> Iterator[tuple[list[str], bool]]:
    """Every command of a page that this project knows, and whether it stands in a block, so that it must be whole."""
    for block in blocks(text):
        for statement in statements(block.text) if block.language in ("", "bash", "sh") else ():
            for words in simple_commands(statement):
                if START.match(words[0]):
                    yield words, True
    for code in codes(text):
        for words in simple_commands(code.replace("[", " ").replace("]", " ")):
            if START.match(words[0]) and len(words) > 1:
                yield words, False


def wrong(words: list[str], whole: bool) -> str | None:
    """What is wrong with a command, or None."""
    name = words[0].rsplit("/")[-1]
    rest = words[1:]
    if name == "megatron-recipe":
        return wrong_recipe(rest, whole)
    if name == "make":
        return wrong_make(rest)
    if name.startswith("python") and rest[:1] == ["-m"]:
        return wrong_module(rest[1:], whole)
    if name in ("bash", "torchrun", "sbatch") or words[0].startswith("./launch/"):
        return wrong_script(rest if name in ("bash", "torchrun", "sbatch") else words, whole)
    if name == "pip":
        return wrong_extra(rest)
    return None


def wrong_recipe(words: list[str], whole: bool) -> str | None:
    """A line of the one command: its names, options and values, and the settings that it changes."""
    command, path = command_line(), []
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            return None if words[:1] in (["--help"], ["-h"]) or not whole else f"{path}: no command"
        if LEFT_OUT.search(words[0]) or re.fullmatch(r"[A-Z]+", words[0]):
            return None
        if words[0] not in command.commands:
            return f"no command {' '.join((*path, words[0]))}"
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    is_whole = whole and not any(LEFT_OUT.search(word) for word in words)
    words = [word for word in words if not LEFT_OUT.search(word)]
    if not is_whole:
        known = {name for parameter in command.params for name in parameter.opts} | {"-h", "--help"}
        unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]
        if unknown:
            return f"{' '.join(path)} has no {unknown}"
    elif "--help" not in words:
        try:
            command.make_context(" ".join(path), list(words))
        except USAGE_ERROR as error:
            return f"{' '.join(path)}: {error}"
    return wrong_settings(path, words) or wrong_inner(words)


def wrong_inner(words: list[str]) -> str | None:
    """A launch file with its options, given to another command in quotes."""
    for word in words:
        if re.match(r"(\S*/)?launch/\S+\s", word) and (fault := wrong_script(shlex.split(word), whole=True)):
            return fault
    return None


def wrong_settings(path: list[str], words: list[str]) -> str | None:
    """The fields of --set, and the values where the recipe is known and no word stands for another."""
    changes = [after for word, after in pairwise(words) if word == "--set"]
    settings: type[BaseModel] = DataRecipe if path[0] == "data" and path[1:] != ["cache"] else Config
    for change in changes:
        if not is_field(settings, change.partition("=")[0].split(".")):
            return f"no setting {change.partition('=')[0]}"
    if settings is Config and words and words[0] in RECIPES.names():
        from megatron_recipe.errors import RecipeError
        from megatron_recipe.recipes import load_config

        try:
            load_config(words[0], [change for change in changes if not PLACEHOLDER.search(change)])
        except RecipeError as error:
            return str(error)
    return None


def is_field(settings: type[BaseModel], names: list[str]) -> bool:
    """Whether a path of names leads to a field."""
    field = settings.model_fields.get(names[0])
    if field is None or len(names) == 1:
        return field is not None
    inner = field.annotation
    return isinstance(inner, type) and issubclass(inner, BaseModel) and is_field(inner, names[1:])


def wrong_make(words: list[str]) -> str | None:
    """A target of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        if "=" in word:
            continue
        if not re.search(rf"^{re.escape(word)}:", text, flags=re.MULTILINE):
            return f"make has no target {word}"
    arguments = [word.partition("=")[2] for word in words if word.startswith("ARGS=")]
    return wrong_recipe(["demo", *shlex.split(arguments[0])], whole=True) if arguments and "demo" in words else None


def wrong_module(words: list[str], whole: bool) -> str | None:
    """`python -m`: a module of this project, and options that its package reads."""
    module = words[0]
    if module in ("pip", "venv", "pytest", "http.server"):
        return None
    if module == "megatron_recipe.cli":
        return wrong_recipe(words[1:], whole)
    file = ROOT / (module.replace(".", "/") + ".py")
    if not file.exists():
        return f"no module {module}"
    text = "".join(path.read_text(encoding="utf-8") for path in file.parent.glob("*.py"))
    unknown = [word for word in words[1:] if word.startswith("--") and f'"{word.split("=")[0]}"' not in text]
    return f"{module} has no {unknown}" if unknown else None


def wrong_script(words: list[str], whole: bool) -> str | None:
    """A file of launch/: it is there, its own options are in it, and what follows a training file is for `train`."""
    places = [at for at, word in enumerate(words) if "/" in word and re.search(r"\.(sh|sbatch)$", word)]
    if not places:
        return None
    at = places[0]
    script = ROOT / re.sub(r"^.*?(?=launch/)", "", words[at])  # the image has the project in another folder
    if not script.exists():
        return f"no file {words[at]}"
    rest = words[at + 1 :]
    if script.name.startswith("pretrain_"):
        rest = [word for word in rest if not LEFT_OUT.search(word)]
        return wrong_recipe(["train", *rest], whole)
    inner = next((place for place, word in enumerate(rest) if "launch/pretrain_" in word), len(rest))
    text = script.read_text(encoding="utf-8")
    for word in rest[:inner]:
        if word.startswith("--") and word.split("=")[0] not in text:
            return f"{words[at]} has no {word}"
    return wrong_script(rest[inner:], whole)


def wrong_extra(words: list[str]) -> str | None:
    """The extras of this project that pip is asked for."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    asked = re.findall(r"(?:megatron-recipe|\.)\[([\w,]+)\]", " ".join(words))
    unknown = [name for name in ",".join(asked).split(",") if asked and f"\n{name} = [" not in text]
    return f"no extra {', '.join(unknown)}" if unknown else None
