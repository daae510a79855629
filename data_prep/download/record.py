"""`download.json`: what a folder of downloaded files is, for the steps that read it and for a download that goes on."""

import datetime
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.files import write_json

NAME = "download.json"
BY_HAND = "by hand"


@dataclass
class Record:
    """A folder's origin, and the files wanted in it."""

    dataset: str
    hub: str
    """huggingface, modelscope, or BY_HAND."""
    endpoint: str
    repo: str
    revision: str
    """The commit, so that a download that goes on takes the files of the same state."""
    subset: str
    license: str
    category: str
    languages: list[str]
    text_field: str = "text"
    id_field: str | None = None
    tokens_field: str | None = None
    metadata_fields: list[str] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    """[{"path", "bytes", "sha256"}]: the checksum that the hub lists; where it lists none, that of what was fetched,
    None until then. `tokens` too, if they were counted."""
    tokens: int | None = None
    tokens_are: str = "estimated"
    """How `tokens` came about: estimated (from bytes), or counted (the sum of tokens_field)."""
    complete: bool = False
    """Whether all of `files` are there."""
    date: str = ""

    def write(self, folder: Path) -> None:
        """Write it into `folder`, dated now."""
        self.date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_json(folder / NAME, asdict(self))


def read_record(folder: Path) -> Record | None:
    """The record of `folder`, None where there is none.

    Raises:
        DataError: it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not a record of a download ({error}); delete it and run the download again") from None


def refuse_other(folder: Path, found: Record, wanted: Record) -> None:
    """One folder holds one subset of one dataset.

    Raises:
        ConfigError: `found`, which is there, is of another.
    """
    for name in ("dataset", "hub", "repo", "subset"):
        there, now = getattr(found, name), getattr(wanted, name)
        if there != now:
            raise ConfigError(
                f"{folder} holds {found.dataset} ({found.subset}) from {found.hub}: its {name} is {there!r}, not "
                f"{now!r}; give another --out"
            )
