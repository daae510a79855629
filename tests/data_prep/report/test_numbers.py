"""Every number of the report, computed again from the shards with plain Python."""

import json
import re
import string
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import zstandard
from conftest import Prepared
from datatrove.data import Document
from datatrove.pipeline.writers import JsonlWriter

from data_prep.clean.catalog import DEFAULT_CLEANERS, build_cleaners
from data_prep.clean.pii import MaskPII
from data_prep.report.page import render_page
from data_prep.report.strings import strings_for
from data_prep.report.write import write_report
from data_prep.tokenizers.load import load_reference
from megatron_recipe.report.formats import integer, percent

Record = dict[str, Any]


def lines(folder: Path) -> list[Record]:
    return [
        json.loads(line) for path in sorted(folder.rglob("*.jsonl")) for line in path.read_text().split("\n") if line
    ]


def packed(path: Path) -> list[Record]:
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def report(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("pages")
    for lang in ("en", "zh"):
        files = {"out": folder / f"{lang}.html", "json": folder / "report.json"}
        write_report([prepared.recipe.out], work=prepared.recipe.work, lang=lang, sample=0, **files)
    content: Record = json.loads((folder / "report.json").read_text())
    return content | {"pages": {lang: (folder / f"{lang}.html").read_text() for lang in ("en", "zh")}}


@pytest.mark.parametrize("place", ["before", "after"])
def test_sizes_and_lengths(report: Record, prepared: Prepared, place: str) -> None:
    stage = prepared.stages["collect" if place == "before" else "deduplicate"]
    texts = [record["text"] for record in lines(stage / "documents")]
    found = report["populations"][place]
    assert found["documents"] == {"value": len(texts), "low": len(texts), "high": len(texts), "exact": True}
    assert found["bytes"]["value"] == sum(len(text.encode()) for text in texts)
    assert found["characters"]["value"] == sum(map(len, texts))
    assert found["characters"]["exact"]
    lengths = sorted(map(len, texts))
    assert found["length"]["mean"]["value"] == pytest.approx(sum(lengths) / len(lengths))
    assert found["length"]["quantiles"]["p50"] == pytest.approx(
        (lengths[(len(lengths) - 1) // 2] + lengths[len(lengths) // 2]) / 2
    )
    edges = found["length"]["edges"]
    for low, high, count in zip(edges, edges[1:], found["length"]["counts"], strict=False):
        assert count == sum(low <= length < high for length in lengths)


def test_tokens_are_those_of_the_dataset_or_counted(report: Record, prepared: Prepared) -> None:
    manifest = json.loads((prepared.recipe.out / "manifest.json").read_text())
    assert report["populations"]["after"]["tokens"]["value"] == sum(s["tokens"] for s in manifest["splits"].values())
    tokenizer = load_reference(prepared.recipe.out / manifest["tokenizer"]["file"])
    texts = [record["text"] for record in lines(prepared.stages["collect"] / "documents")]
    assert report["populations"]["before"]["tokens"]["value"] == sum(len(tokenizer.encode(text)) for text in texts)


def test_signals(report: Record, prepared: Prepared) -> None:
    records = lines(prepared.stages["deduplicate"] / "documents")
    rows: dict[str, list[float]] = {}
    for record in records:
        text, chinese = record["text"], record["metadata"]["language"] == "zh"
        inked = [c for c in text if not c.isspace()]
        letters = sum(c.isalpha() for c in inked)
        digits = sum(c.isdecimal() for c in inked)
        full = [line.strip() for line in text.split("\n") if line.strip()]
        ends = "。！？；，：…”’」』）》、.!?\"');:," if chinese else ".!?\"'”’);:"
        rows.setdefault("letters", []).append(letters / len(inked))
        rows.setdefault("digits", []).append(digits / len(inked))
        rows.setdefault("symbols", []).append((len(inked) - letters - digits) / len(inked))
        rows.setdefault("han", []).append(sum("\u4e00" <= c <= "\u9fff" for c in inked) / letters)
        rows.setdefault("punctuated_lines", []).append(sum(line[-1] in ends for line in full) / len(full))
        rows.setdefault("mean_line", []).append(sum(map(len, full)) / len(full))
        rows.setdefault("repeated_lines", []).append(1 - sum(map(len, set(full))) / sum(map(len, full)))
        one_line = " ".join(text.split())
        runs = [one_line[i : i + 24] for i in range(max(len(one_line) - 23, 1))]
        rows.setdefault("repeated_passages", []).append(1 - len(set(runs)) / len(runs))
        if not chinese:
            words = re.findall("[a-z]+", text.lower())
            stops = {"the", "be", "to", "of", "and", "that", "have", "with"}
            rows.setdefault("function_words", []).append(sum(w in stops for w in words) / len(words))
        else:
            stops = set("的一是在不了有和人这這中大为為上个個国國我以要他时時来來用们們生到作地于於出就")
            stops |= set("之乎者也而其於于以無无何此如自不有為为與与所則则乃亦且")
            rows.setdefault("function_words", []).append(
                sum(c in stops for c in text) / sum("\u4e00" <= c <= "\u9fff" for c in text)
            )
    signals = report["populations"]["after"]["signals"]
    assert set(signals) == set(rows)
    for name, values in rows.items():
        assert signals[name]["mean"]["value"] == pytest.approx(sum(values) / len(values), abs=1e-9), name
        assert sum(signals[name]["counts"]) == len(records), name
        assert signals[name]["counts"][0] == sum(v < signals[name]["edges"][1] for v in values), name


@pytest.mark.parametrize("group", ["language", "source"])
def test_groups(report: Record, prepared: Prepared, group: str) -> None:
    records = lines(prepared.stages["deduplicate"] / "documents")
    counts = Counter(record["metadata"][group] for record in records)
    num_bytes: Counter[str] = Counter()
    for record in records:
        num_bytes[record["metadata"][group]] += len(record["text"].encode())
    rows = report["populations"]["after"][group]["rows"]
    assert {row["name"]: row["documents"]["count"] for row in rows} == counts
    for row in rows:
        assert row["documents"]["value"] == pytest.approx(counts[row["name"]] / len(records))
        assert row["bytes"]["value"] == pytest.approx(num_bytes[row["name"]] / num_bytes.total())


def test_personal_data(report: Record, prepared: Prepared) -> None:
    found = report["populations"]["after"]["pii"]
    texts = [record["text"] for record in lines(prepared.stages["deduplicate"] / "documents")]
    with_mail = [text for text in texts if "ann.lee@mail-" in text]
    assert found["kinds"]["email"]["count"] == len(with_mail) == 1
    assert found["kinds"]["email"]["found"] == with_mail[0].count("ann.lee@mail-") == 3
    assert found["any"]["count"] == sum(bool(MaskPII().mask(text)[1]) for text in texts)
    by_source = {row["name"]: row["pii"]["count"] for row in report["populations"]["after"]["source"]["rows"]}
    assert sum(by_source.values()) == found["any"]["count"]


def test_the_web_rules_drop_what_a_pipeline_of_them_drops(report: Record, prepared: Prepared, tmp_path: Path) -> None:
    documents: Any = [
        Document(text=record["text"], id=record["id"]) for record in lines(prepared.stages["deduplicate"] / "documents")
    ]
    blocks: list[Any] = build_cleaners(DEFAULT_CLEANERS)
    for block in blocks:
        if hasattr(block, "exclusion_writer"):
            block.exclusion_writer = JsonlWriter(str(tmp_path / type(block).__name__), compression=None)
        documents = block.run(documents)
    kept = len(list(documents))
    reasons = Counter(record["metadata"]["filter_reason"] for record in lines(tmp_path))
    found = report["populations"]["after"]["rules"]
    assert {reason: share["count"] for reason, share in found["reasons"].items()} == reasons
    assert reasons and found["any"]["of"] - found["any"]["count"] == kept


def test_stages_and_reasons(report: Record, prepared: Prepared) -> None:
    before = None
    for row in report["stages"]:
        if not row["run"]:
            assert row == {"name": "decontaminate", "run": False}
            continue
        folder = prepared.stages[row["name"]]
        kept = lines(folder / "documents")
        assert row["documents_out"] == len(kept)
        assert row["bytes_out"] == sum(len(record["text"].encode()) for record in kept)
        reasons = Counter(r["metadata"]["filter_reason"] for r in lines(folder / "dropped"))
        assert report["dropped"]["listed"][row["name"]] == reasons
        if row["name"] == "deduplicate":
            reasons += Counter(record["reason"] for record in packed(folder / "removed.jsonl.zst"))
        assert row["dropped"] == reasons
        assert row["documents_in"] == len(kept) + reasons.total()
        assert row["documents_in"] == (len(before) if before is not None else row["documents_in"])
        before = kept
    assert all(check["holds"] for check in report["checks"])
    assert report["funnel"]["read"] == report["funnel"]["kept"] + report["funnel"]["dropped"]


def test_duplicates(report: Record, prepared: Prepared) -> None:
    removed = packed(prepared.stages["deduplicate"] / "removed.jsonl.zst")
    found = report["duplicates"]
    counts = Counter(record["reason"] for record in removed)
    assert counts["exact_duplicate"] and counts["near_duplicate"]
    for reason, count in counts.items():
        assert found["rates"][reason] == {"count": count, "of": len(lines(prepared.stages["clean"] / "documents"))}
    near = [record["similarity"] for record in removed if record["reason"] == "near_duplicate"]
    assert sum(found["similarity"]["counts"]) == len(near)
    assert all(pair in removed for pair in found["pairs"])
    assert {pair["reason"] for pair in found["pairs"]} == {"exact_duplicate", "near_duplicate"}


def numbers_seen(page: str) -> list[str]:
    body = re.sub(
        r"<style>.*?</style>|<svg.*?</svg>|<blockquote.*?</blockquote>|<small>U?</small>", "", page, flags=re.S
    )
    cells = re.findall(r"<td class=\"number[^>]*>(.*?)</td>|<dd[^>]*>(.*?)</dd>", body, flags=re.S)
    return [unescape(re.sub(r"<[^>]*>", " ", first or second)).strip() for first, second in cells]


def test_both_languages_show_the_same_numbers(report: Record) -> None:
    english, chinese = (numbers_seen(page) for page in report["pages"].values())
    assert len(english) > 80
    assert english == chinese


def test_the_page_shows_what_the_json_says(report: Record) -> None:
    shown = numbers_seen(report["pages"]["en"])
    for population in report["populations"].values():
        for figure in ("documents", "bytes", "characters", "tokens"):
            assert integer(population[figure]["value"]) in shown
        for found in population["signals"].values():
            value = found["mean"]["value"]
            assert percent(value) in shown or f"{value:,.1f}" in shown
    for row in report["stages"]:
        if row["run"]:
            assert {integer(row[key]) for key in ("documents_in", "documents_out", "bytes_out")} <= set(shown)
            assert {integer(count) for count in row["dropped"].values()} <= set(shown)


def test_a_page_can_be_made_of_the_json_alone(report: Record) -> None:
    content = {key: value for key, value in report.items() if key != "pages"}
    assert render_page(content, "zh") == report["pages"]["zh"]


def test_both_tables_have_the_same_keys_and_placeholders() -> None:
    english, chinese = (strings_for(lang).table for lang in ("en", "zh"))
    assert list(english) == list(chinese)
    for key, text in english.items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(t) if name} for t in (text, chinese[key])]
        assert fields[0] == fields[1], key
