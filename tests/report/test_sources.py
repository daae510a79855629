"""Tables by source: few as they are, many with languages, the largest and one row for the others."""

import json
import math
import random
from typing import Any

import pytest
from html_page import page
from made_run import PERPLEXITY, Project, write

from megatron_recipe.report.sources import SHOWN_SOURCES, merge, source_table


def measured_rows(count: int) -> list[dict[str, Any]]:
    """Rows of an evaluation, in no order."""
    dice = random.Random(3)
    rows = []
    for number in range(count):
        tokens = dice.randrange(10, 90_000)
        size, loss = dice.randrange(2 * tokens, 5 * tokens), dice.uniform(4, 6)
        rows.append(
            {
                "source": f"source {number}",
                "language": ("en", "zh", "la")[number % 3],
                "documents": dice.randrange(1, 50),
                "tokens": tokens,
                "bytes": size,
                "loss": loss,
                "bits_per_byte": loss * tokens / math.log(2) / size,
            }
        )
    return rows


@pytest.mark.parametrize("count", [1, 2, SHOWN_SOURCES, SHOWN_SOURCES + 1])
def test_few_sources_are_all_shown(count: int) -> None:
    table = source_table(measured_rows(count))
    assert len(table.largest) == count
    assert table.others is None


def test_languages_are_left_out_where_each_source_has_its_own() -> None:
    assert source_table(measured_rows(3)).languages == []
    assert len(source_table(measured_rows(4)).languages) == 3


def test_the_parts_make_the_whole() -> None:
    rows = measured_rows(40)
    table = source_table(rows)
    assert [row["bytes"] for row in table.rows] == sorted((row["bytes"] for row in rows), reverse=True)
    assert table.largest == table.rows[:SHOWN_SOURCES]
    assert table.others is not None
    for parts in ([*table.largest, table.others], table.languages):
        for name in ("documents", "tokens", "bytes"):
            assert sum(part[name] for part in parts) == sum(row[name] for row in rows)
        nats = sum(row["loss"] * row["tokens"] for row in rows)
        assert sum(part["loss"] * part["tokens"] for part in parts) == pytest.approx(nats)
        for part in parts:  # bits per byte of a merged row are its own nats over its own bytes
            expected = part["loss"] * part["tokens"] / math.log(2) / part["bytes"]
            assert part["bits_per_byte"] == pytest.approx(expected)


def test_merging_rows_that_were_not_measured() -> None:
    rows = [{"name": name, "license": "MIT", "language": "en", "documents": 2, "bytes": 5} for name in "ab"]
    merged = merge(rows)
    assert (merged["documents"], merged["bytes"], merged["sources"], merged["licenses"]) == (4, 10, 2, 1)
    assert "loss" not in merged


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_hundreds_of_sources_on_the_page(project: Project, lang: str) -> None:
    rows = measured_rows(40)
    write(project.run / "eval" / "perplexity.json", {**PERPLEXITY, "by_source": rows})
    manifest = json.loads(json.dumps(project.manifest))
    manifest["sources"] = [{**row, "name": row["source"], "license": f"L{row['documents'] % 5}"} for row in rows]
    write(project.root / "datasets" / "demo" / "manifest.json", manifest)
    read = page(project, lang)

    rows.sort(key=lambda row: -row["bytes"])
    largest, rest = rows[:SHOWN_SOURCES], rows[SHOWN_SOURCES:]
    shown = read.rows("by-source")
    assert [row[0] for row in shown[:SHOWN_SOURCES]] == [row["source"] for row in largest]
    tokens = sum(row["tokens"] for row in rest)
    loss = sum(row["loss"] * row["tokens"] for row in rest) / tokens
    bits = sum(row["loss"] * row["tokens"] for row in rest) / math.log(2) / sum(row["bytes"] for row in rest)
    assert shown[SHOWN_SOURCES][2:5] == [f"{loss:.3f}", f"{bits:.3f}", f"{tokens:,}"]

    chinese = [row for row in rows if row["language"] == "zh"]
    by_language = {row[0]: row[1:] for row in read.rows("by-language")}
    name = {"en": "Chinese", "zh": "中文"}[lang]
    assert by_language[name][3] == f"{sum(row['documents'] for row in chinese):,}"
    assert set(by_language) >= {"la", name}

    assert [row[0] for row in read.rows("by-every-source")] == [row["source"] for row in rows]
    assert [row[0] for row in read.rows("all-sources")] == [row["source"] for row in rows]
    others = read.rows("sources")[SHOWN_SOURCES]
    assert others[3] == f"{sum(row['documents'] for row in rest):,}"
    assert str(len({row["documents"] % 5 for row in rest})) in others[2]
    assert read.rows("languages")[0][1] == f"{sum(row['language'] == by_size(rows) for row in rows):,}"


def by_size(rows: list[dict[str, Any]]) -> str:
    """The language with most bytes."""
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row["language"]] = sizes.get(row["language"], 0) + row["bytes"]
    return max(sizes, key=lambda language: sizes[language])
