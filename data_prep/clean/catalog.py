"""The cleaning blocks by the names that recipes use, and the orders in which they run by default.

Classes are named by their module and loaded when they are asked for: datatrove takes most of a second to import.
"""

import importlib
import inspect
import typing
from typing import TYPE_CHECKING, Any

from pydantic import create_model

from megatron_recipe.errors import ConfigError
from megatron_recipe.settings import Section, parse, suggestion

if TYPE_CHECKING:
    from datatrove.pipeline.base import PipelineStep

CLEANERS: dict[str, str] = {
    "tidy": "tidy:TidyText",
    "length": "length:LengthFilter",
    "symbols": "symbols:SymbolFilter",
    "repetition": "repetition:RepetitionFilter",
    "language": "language:LanguageLabel",
    "language_filter": "language_filter:LanguageFilter",
    "gopher_quality": "gopher_quality:GopherQualityFilter",
    "gopher_repetition": "gopher_repetition:GopherRepetitionFilter",
    "c4_quality": "c4_quality:C4QualityFilter",
    "fineweb_quality": "fineweb_quality:FineWebQualityFilter",
    "adverts": "list_filters:AdvertFilter",
    "junk": "list_filters:JunkFilter",
    "sensitive": "list_filters:SensitiveFilter",
    "lists": "list_filters:ListFilter",
    "pii": "pii:MaskPII",
}
"""Name in a recipe → ``module:class`` in data_prep.clean."""

Entries = list[dict[str, dict[str, Any]]]
"""A recipe's `clean` list: one name with its settings an entry."""

DOCUMENT_CLEANERS: Entries = [
    {"tidy": {}},
    {"length": {"min_characters": 20}},
    {"symbols": {}},
    {"repetition": {}},
    {"language": {}},
]
"""For text that somebody wrote to be read: documentation, books, dictionaries."""

DEFAULT_CLEANERS: Entries = [
    {"tidy": {}},
    {"length": {"min_characters": 20}},
    {"symbols": {}},
    {"language": {}},
    {"language_filter": {"keep": ["en", "zh"]}},
    {"junk": {}},
    {"adverts": {}},
    {"sensitive": {}},
    {"c4_quality": {}},
    {"gopher_quality": {}},
    {"fineweb_quality": {}},
    {"gopher_repetition": {}},
    {"pii": {}},
]
"""For pages of the web: cheap blocks first, what changes text before what measures it, PII in what is left."""


def cleaner_class(name: str) -> "type[PipelineStep]":
    """The class of a block.

    Raises:
        ConfigError: no block has this name.
    """
    if name not in CLEANERS:
        raise ConfigError(
            f"clean: {name!r} is no cleaning block{suggestion(name, list(CLEANERS))}; known: {', '.join(CLEANERS)}"
        )
    module, _, class_name = CLEANERS[name].partition(":")
    return getattr(importlib.import_module(f"data_prep.clean.{module}"), class_name)


def build_cleaners(entries: Entries) -> "list[PipelineStep]":
    """The blocks of a recipe's `clean` list, each entry one name with its settings.

    Raises:
        ConfigError: an unknown block or setting, a value of the wrong type or out of range, a list that cannot be read.
    """
    return [_build(name, settings or {}) for entry in entries for name, settings in entry.items()]


def _build(name: str, settings: dict[str, Any]) -> "PipelineStep":
    kind = cleaner_class(name)
    hints = typing.get_type_hints(kind.__init__, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(kind).parameters.values()
    }
    values = parse(create_model(name, __base__=Section, **fields), settings, f"clean.{name}")
    return kind(**{setting: getattr(values, setting) for setting in fields})
