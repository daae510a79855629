"""Corpora that are small, broken, hostile or half done."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import SCRIPT, Prepared

from data_prep.report.page import reason_name
from data_prep.report.strings import strings_for
from data_prep.report.write import write_report
from megatron_recipe.errors import ConfigError, DataError


def written(paths: list[Path], folder: Path, **values: Any) -> tuple[dict[str, Any], str]:
    page = write_report(paths, out=folder / "page.html", json=folder / "page.json", **values)
    return json.loads((folder / "page.json").read_text()), page.read_text()


def raw(folder: Path, *records: Any) -> Path:
    path = folder / "raw.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def work_folder(folder: Path, collected: list[dict[str, Any]], **result: Any) -> Path:
    stage = folder / "work" / "1_collect"
    (stage / "documents").mkdir(parents=True)
    (stage / "documents" / "00000.jsonl").write_text("".join(json.dumps(r) + "\n" for r in collected))
    size = sum(len(record["text"].encode()) for record in collected)
    counts = {"documents_in": len(collected), "documents_out": len(collected), "dropped": {}, "bytes_out": size}
    marker = {"fingerprint": "x", "settings": {}, "result": {"name": "collect", "seconds": 1.0, **counts, **result}}
    (stage / "stage.json").write_text(json.dumps(marker))
    return folder / "work"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_text_of_the_corpus_cannot_act(prepared: Prepared, tmp_path: Path, lang: str) -> None:
    content, page = written([prepared.corpus / "notes.txt"], tmp_path, lang=lang)
    assert SCRIPT in content["populations"]["before"]["texts"][0]["text"]
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "\x1b" not in page and "\u202e" not in page
    assert "⟨U+001B⟩" in page and "⟨U+202E⟩" in page
    assert not re.search(r"""(?:src|href)=["'](?!#)|url\(|@import""", page)


def test_names_in_metadata_cannot_act(tmp_path: Path) -> None:
    metadata = {"source": SCRIPT, "category": ["<b>", 1], "language": {"x": "<i>"}, "pii": "no"}
    path = work_folder(tmp_path, [{"id": "<u>", "text": "A text.", "metadata": metadata}, {"id": "2", "text": "B"}])
    content, page = written([path], tmp_path)
    assert content["populations"]["after"]["documents"]["value"] == 2
    assert not re.search("<script|<b>|<i>|<u>", page)


def test_one_document(tmp_path: Path) -> None:
    content, page = written([raw(tmp_path, {"text": "只有一篇。"})], tmp_path)
    assert content["populations"]["before"]["documents"]["value"] == 1
    assert content["exact_copies"]["value"] == 0
    assert "Infinity" not in json.dumps(content) and "NaN" not in json.dumps(content)
    assert "not run" in page


def test_documents_without_text(tmp_path: Path) -> None:
    content, _ = written([raw(tmp_path, {"text": ""}, {"text": " "}, {"text": ""})], tmp_path)
    assert content["populations"]["before"]["bytes"]["value"] == 1
    assert content["exact_copies"]["count"] == 2


def test_exact_copies_of_raw_text(prepared: Prepared, tmp_path: Path) -> None:
    content, _ = written([prepared.corpus], tmp_path)
    assert content["exact_copies"] == {
        **dict.fromkeys(("value", "low", "high"), pytest.approx(10 / 165)),
        "exact": True,
        "count": 10,
        "of": 165,
    }


def test_stages_that_have_not_run_are_said_to_be(prepared: Prepared, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(prepared.recipe.work, work, ignore=shutil.ignore_patterns("[3456]_*"))
    content, page = written([work], tmp_path)
    assert [row["run"] for row in content["stages"]] == [True, True, False, False]
    assert content["duplicates"] is None and content["contamination"] is None
    assert page.count("not run") >= 3
    shutil.rmtree(work / "1_collect")
    content, page = written([work], tmp_path, lang="zh")
    assert [row["run"] for row in content["stages"]] == [False, True, False, False]
    assert "未运行" in page


def test_a_work_folder_where_nothing_has_finished(tmp_path: Path) -> None:
    (tmp_path / "work" / ".1_collect.partial").mkdir(parents=True)
    content, page = written([tmp_path / "work"], tmp_path)
    assert content["populations"] == {} and content["funnel"] is None
    assert "No stage has run" in page


def test_numbers_that_do_not_add_up_are_shown(tmp_path: Path) -> None:
    work = work_folder(tmp_path, [{"id": "1", "text": "a text", "metadata": {}}], documents_in=9)
    content, page = written([work], tmp_path)
    assert [check["name"] for check in content["checks"] if not check["holds"]] == ["sum"]
    assert "9 ≠ 1" in page
    assert not content["funnel"]["adds_up"]


def test_a_sample_states_its_error(prepared: Prepared, tmp_path: Path) -> None:
    content, page = written([prepared.corpus], tmp_path, sample=60, seed=5)
    whole, _ = written([prepared.corpus], tmp_path, sample=0)
    sampled = content["populations"]["before"]
    assert sampled["sampled"] == 60
    letters = sampled["signals"]["letters"]["mean"]
    assert not letters["exact"] and letters["low"] < letters["value"] < letters["high"]
    assert letters["low"] <= whole["populations"]["before"]["signals"]["letters"]["mean"]["value"] <= letters["high"]
    assert "≈" in page and "95%" in page
    assert content["populations"] == written([prepared.corpus], tmp_path, sample=60, seed=5)[0]["populations"]


def test_readable_names_of_reasons() -> None:
    for lang, names in (("en", "repeated runs of 7 words (Gopher)"), ("zh", "重复的 7 词片段（Gopher）")):
        assert reason_name(strings_for(lang), "gopher_repeated_7_grams") == names
        assert reason_name(strings_for(lang), "my_own_list") == "my own list"
    assert reason_name(strings_for("zh"), "near_duplicate") == "近似重复"


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"lang": "fr"}, ConfigError, "--lang=fr"),
        ({"sample": 3}, ConfigError, "--sample=3"),
        ({"paths": []}, ConfigError, "give a dataset"),
        ({"paths": [Path("nowhere")]}, DataError, "nowhere"),
    ],
)
def test_what_is_refused(tmp_path: Path, values: dict[str, Any], error: type[Exception], said: str) -> None:
    paths = values.pop("paths", [raw(tmp_path, {"text": "a text"})])
    with pytest.raises(error, match=said):
        write_report(paths, out=tmp_path / "page.html", **values)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    work = work_folder(tmp_path, [{"id": "1", "text": "a text", "metadata": {}}])
    shard = work / "1_collect" / "documents" / "00000.jsonl"
    shard.write_text("{}\n")
    with pytest.raises(DataError, match=r"00000\.jsonl:1: no document"):
        write_report([work], out=tmp_path / "page.html")
    (work / "1_collect" / "stage.json").write_text("{}")
    with pytest.raises(DataError, match=r"stage\.json: damaged"):
        write_report([work], out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_dry_run_writes_nothing(prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report([prepared.recipe.out], work=prepared.recipe.work, out=tmp_path / "page.html", dry_run=True)
    assert "collect, clean, deduplicate" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_overlaps_with_evaluation_sets_are_counted_by_set(tmp_path: Path, lang: str) -> None:
    work = work_folder(tmp_path, [{"id": str(i), "text": f"text {i}", "metadata": {}} for i in range(3)])
    stage = work / "2_decontaminate"
    (stage / "documents").mkdir(parents=True)
    (stage / "documents" / "00000.jsonl").write_text(json.dumps({"id": "0", "text": "text 0", "metadata": {}}) + "\n")
    (stage / "dropped" / "Decontaminate").mkdir(parents=True)
    dropped = [{"id": i, "text": "x", "metadata": {"filter_reason": "contaminated"}} for i in "12"]
    (stage / "dropped" / "Decontaminate" / "00000.jsonl").write_text("".join(json.dumps(d) + "\n" for d in dropped))
    overlaps = [
        {"id": id_, "set": name, "item": 0, "dropped": drops, "text": SCRIPT}
        for id_, name, drops in (("0", "mmlu", False), ("1", "mmlu", True), ("2", "arc", True))
    ]
    (stage / "contaminated.jsonl").write_text("".join(json.dumps(one) + "\n" for one in overlaps))
    counts = {"documents_in": 3, "documents_out": 1, "dropped": {"contaminated": 2}, "bytes_out": 6, "seconds": 0.5}
    (stage / "stage.json").write_text(json.dumps({"fingerprint": "x", "result": {"name": "decontaminate", **counts}}))
    content, page = written([work], tmp_path, lang=lang)
    assert content["contamination"]["sets"] == [
        {"name": "arc", "overlaps": 1, "dropped": 1},
        {"name": "mmlu", "overlaps": 2, "dropped": 1},
    ]
    assert content["contamination"]["dropped"] == content["funnel"]["dropped"] == 2
    assert all(check["holds"] for check in content["checks"])
    assert "<script" not in page and "mmlu" in page
