"""What is known of a dataset on a hub before it is downloaded: where it is, what it holds, its licence and size."""

import difflib
import re
from dataclasses import dataclass

from megatron_recipe.errors import ConfigError


@dataclass(frozen=True)
class Subset:
    """A part of a dataset that can be downloaded by itself."""

    name: str
    folder: str
    """Where its files are in the repository; "" for all of it."""
    tokens: float | None = None
    """Tokens as published; None where the publisher gives no number."""
    gigabytes: float | None = None
    """Size of the files as they are downloaded (10^9 bytes); None where it could not be checked."""


@dataclass(frozen=True)
class HubDataset:
    """One dataset: identity, schema, licence and size. The first subset is the default."""

    name: str
    title: str
    home: str
    """Page with its card, licence and terms."""
    license: str
    category: str
    languages: tuple[str, ...]
    about_en: str
    about_zh: str
    subsets: tuple[Subset, ...]
    bytes_per_token: float
    """Downloaded bytes for each token, to estimate tokens before anything is read."""
    facts_from: tuple[str, ...]
    """Where the numbers and names above were read."""
    unchecked: tuple[str, ...] = ()
    """What could not be confirmed at its publisher's."""
    huggingface: str | None = None
    modelscope: str | None = None
    suffixes: tuple[str, ...] = (".parquet",)
    text_field: str = "text"
    id_field: str | None = None
    tokens_field: str | None = None
    """Column with each document's number of tokens, if there is one."""
    metadata_fields: tuple[str, ...] = ()
    """Columns worth keeping beside the text."""
    is_gated: bool = False
    """Whether its terms must be accepted, and a token given, before files can be fetched."""
    more_subsets: tuple[str, str] | None = None
    """(pattern, folder) of subsets too many to list: names that match are in `folder.format(name)`."""
    by_hand: str = ""
    """How to fetch it where no program can; empty for sets with a hub."""

    def subset(self, name: str | None) -> Subset:
        """The subset of that name, the default one for None.

        Raises:
            ConfigError: there is none of that name.
        """
        if name is None:
            return self.subsets[0]
        for subset in self.subsets:
            if subset.name == name:
                return subset
        if self.more_subsets and re.fullmatch(self.more_subsets[0], name):
            return Subset(name, self.more_subsets[1].format(name))
        known = [subset.name for subset in self.subsets]
        pattern = f", or a name like {self.more_subsets[0]}" if self.more_subsets else ""
        raise ConfigError(f"--subset {name}: {self.name} has {', '.join(known)}{pattern}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: list[str]) -> str:
    """`; did you mean X?` for the nearest known name, or nothing."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
