"""The cleaning blocks by the names that recipes use."""

import inspect
from typing import Any

from datatrove.pipeline.base import PipelineStep

from data_prep.clean.language import LanguageLabel
from data_prep.clean.length import LengthFilter
from data_prep.clean.repetition import RepetitionFilter
from data_prep.clean.symbols import SymbolFilter
from data_prep.clean.tidy import TidyText
from megatron_recipe.errors import ConfigError
from megatron_recipe.settings import suggestion

CLEANERS: dict[str, type[PipelineStep]] = {
    "tidy": TidyText,
    "length": LengthFilter,
    "symbols": SymbolFilter,
    "repetition": RepetitionFilter,
    "language": LanguageLabel,
}


def build_cleaners(entries: list[dict[str, dict[str, Any]]]) -> list[PipelineStep]:
    """The blocks of a recipe's `clean` list, each entry one name with its settings.

    Raises:
        ConfigError: an unknown block or setting.
    """
    return [_build(name, settings) for entry in entries for name, settings in entry.items()]


def _build(name: str, settings: dict[str, Any]) -> PipelineStep:
    if name not in CLEANERS:
        raise ConfigError(
            f"clean: {name!r} is no cleaning block{suggestion(name, list(CLEANERS))}; known: {', '.join(CLEANERS)}"
        )
    known = list(inspect.signature(CLEANERS[name]).parameters)
    for setting in settings:
        if setting not in known:
            raise ConfigError(
                f"clean.{name}.{setting} is not known{suggestion(setting, known)}; {name} has: {', '.join(known)}"
            )
    return CLEANERS[name](**settings)
