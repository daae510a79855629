"""Tables by source that stay readable with hundreds of sources: languages, the largest sources, the others as one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

SHOWN_SOURCES = 8
# How a mean of a whole follows from those of its parts: the weight of each, by the mean's name.
MEANS = {"loss": "tokens", "bits_per_byte": "bytes"}


@dataclass(frozen=True)
class SourceTable:
    """Rows of one table by source; `languages` is empty where it would repeat the sources."""

    languages: list[Row]
    largest: list[Row]
    others: Row | None
    rows: list[Row]
    """All of them, largest first."""


def source_table(rows: list[Row]) -> SourceTable:
    """Arrange rows with `language`, `documents` and `bytes` (and `tokens`, `loss`, `bits_per_byte` if measured)."""
    ordered = sorted(rows, key=lambda row: -row["bytes"])
    few = len(ordered) <= SHOWN_SOURCES + 1  # one row for a single other source would save nothing
    largest, rest = (ordered, []) if few else (ordered[:SHOWN_SOURCES], ordered[SHOWN_SOURCES:])
    names = dict.fromkeys(row["language"] for row in ordered)
    languages = [merge(row for row in ordered if row["language"] == name) for name in names]
    languages.sort(key=lambda row: -row["bytes"])
    return SourceTable(
        languages=languages if len(languages) < len(ordered) else [],
        largest=largest,
        others=merge(rest) if rest else None,
        rows=ordered,
    )


def merge(rows: Iterable[Row]) -> Row:
    """One row for several: counts add up, means are weighted as MEANS says; `sources` counts the rows."""
    parts = list(rows)
    whole: Row = {
        "sources": len(parts),
        "language": parts[0]["language"],
        "languages": len({part["language"] for part in parts}),
        "licenses": len({part.get("license") for part in parts}),
    }
    whole |= {name: sum(part[name] for part in parts) for name in ("documents", "bytes", "tokens") if name in parts[0]}
    for mean, weight in MEANS.items():
        if mean in parts[0]:
            total = sum(part[mean] * part[weight] for part in parts)
            whole[mean] = total / whole[weight] if whole[weight] else None
    return whole
