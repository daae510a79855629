"""Which of a subset's files are fetched: the first, in the hub's order, up to a limit in bytes or in tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_prep.download.hub import RemoteFile
from megatron_recipe.errors import ConfigError, DataError


@dataclass(frozen=True)
class Limits:
    """How much is wanted; None means all."""

    max_bytes: int | None = None
    """A ceiling, for the disk's sake: files together are never more."""
    max_tokens: int | None = None
    """A goal: files are added until their tokens, estimated by their bytes, reach it."""

    def __post_init__(self) -> None:
        for option, value in (("--max-gb", self.max_bytes), ("--max-tokens", self.max_tokens)):
            if value is not None and value <= 0:
                raise ConfigError(f"{option} must be above 0; leave it out for all")


def choose(
    files: Sequence[RemoteFile], suffixes: tuple[str, ...], limits: Limits, bytes_per_token: float
) -> list[RemoteFile]:
    """The files to fetch.

    Args:
        files: of one subset, in the hub's order.
        suffixes: of the files that hold documents; others (cards, scripts) are left out.

    Raises:
        DataError: the subset has no such file.
        ConfigError: not even the first is within the limit.
    """
    readable = [file for file in files if file.path.endswith(suffixes)]
    if not readable:
        found = ", ".join(file.path for file in files[:5]) or "nothing"
        raise DataError(f"the subset holds no {', '.join(suffixes)} files (found {found}); choose another --subset")
    chosen: list[RemoteFile] = []
    total = 0
    for file in readable:
        if limits.max_bytes is not None and total + file.bytes > limits.max_bytes:
            break
        if limits.max_tokens is not None and total / bytes_per_token >= limits.max_tokens:
            break
        chosen.append(file)
        total += file.bytes
    if not chosen:
        raise ConfigError(
            f"--max-gb {(limits.max_bytes or 0) / 1e9:g}: already the first file, {readable[0].path}, has "
            f"{readable[0].bytes / 1e9:.3g} GB; raise it, or stream it (shards are deleted once they are tokenized)"
        )
    return chosen
