"""What is to be compared: the command line's words checked before anything is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.recipe import Source
from data_prep.sources.local import LocalFile, find_files
from data_prep.tokenizer_lab.kinds import KINDS
from megatron_recipe.errors import ConfigError
from megatron_recipe.settings import suggestion

DEFAULT_SIZES = (32_000, 64_000)
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Request:
    """One comparison: named sources of text with their shares of the mix, and the tokenizers to train or load."""

    sources: dict[str, list[LocalFile]]
    shares: dict[str, float]
    """Of the mix's UTF-8 bytes, by source; they sum to 1."""
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    existing: tuple[Path, ...]


def make_request(
    named_files: Sequence[str],
    weights: Sequence[str],
    kinds: Sequence[str],
    sizes: Sequence[int],
    existing: Sequence[Path],
) -> Request:
    """Check ``NAME=FILE`` and ``NAME=SHARE`` arguments; empty kinds or sizes are all kinds or DEFAULT_SIZES.

    Raises:
        ConfigError: an argument is not of that form, or names an unknown kind or source.
        DataError: a file is missing or of an unknown format.
    """
    sources: dict[str, list[LocalFile]] = {}
    for argument in named_files:
        name, file = _pair(argument, "NAME=FILE", "zh=chinese.jsonl")
        sources.setdefault(name, []).extend(find_files((Source(path=Path(file), name=name),)))
    if not sources:
        raise ConfigError("give at least one NAME=FILE of text, for example en=english.jsonl zh=chinese.jsonl")
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"--kind {kind}: unknown{suggestion(kind, list(KINDS))}; known: {', '.join(KINDS)}")
    for size in sizes:
        if size <= 0:
            raise ConfigError(f"--size {size} must be above 0; for example 64000")
    for path in existing:
        if not path.is_file():
            raise ConfigError(f"--existing {path}: no such file; give a tokenizer.model or tokenizer.json")
    return Request(
        sources,
        _shares(list(sources), weights),
        tuple(dict.fromkeys(kinds or KINDS)),
        tuple(sorted(set(sizes or DEFAULT_SIZES))),
        tuple(existing),
    )


def _pair(argument: str, form: str, example: str) -> tuple[str, str]:
    name, _, value = argument.partition("=")
    if not name or not value:
        raise ConfigError(f"{argument!r}: write it as {form}, for example {example}")
    return name, value


def _shares(names: list[str], weights: Sequence[str]) -> dict[str, float]:
    """The given weights, 1 for a source without one, divided by their sum."""
    given = dict.fromkeys(names, 1.0)
    for argument in weights:
        name, value = _pair(argument, "NAME=SHARE", "code=0.2")
        if name not in given:
            raise ConfigError(f"--weight {argument}: no source is named {name!r}; there are {', '.join(names)}")
        try:
            given[name] = float(value)
        except ValueError:
            raise ConfigError(f"--weight {argument}: {value!r} is no number; for example code=0.2") from None
        if not 0 < given[name] < float("inf"):
            raise ConfigError(f"--weight {argument} must be above 0; leave the source out instead")
    total = sum(given.values())
    return {name: weight / total for name, weight in given.items()}
