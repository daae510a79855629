"""The page of runs that are new, damaged, hostile, long or odd."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from html_page import NUMBER, Page, page, text_of
from made_run import CONFIG, EVENTS, HOSTILE, PERPLEXITY, Project, train_records, write, write_lines

from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.report import report_command, write_report

BOTH = pytest.mark.parametrize("lang", ["en", "zh"])


def test_an_unknown_language(project: Project) -> None:
    with pytest.raises(ConfigError, match="--lang=fr: unknown language; choose en or zh"):
        write_report(project.run, lang="fr")


def test_where_the_report_goes(project: Project, tmp_path: Path) -> None:
    assert write_report(project.run) == project.run / "report.html"
    assert write_report(project.run, out=tmp_path / "new" / "r.html").is_file()
    with pytest.raises(ConfigError, match="is a folder"):
        write_report(project.run, out=tmp_path)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("retrospective", [True, False])
def test_a_file_of_somebodys_own_is_not_replaced(
    project: Project, tmp_path: Path, retrospective: bool, dry_run: bool
) -> None:
    own = tmp_path / "results.html"
    own.write_text("<!doctype html>\n<title>my page about megatron-recipe</title>\n", encoding="utf-8")
    before = own.read_bytes()
    with pytest.raises(ConfigError, match=r"--out=.*results\.html is there and no report's page.*name another file"):
        report_command(project.run, "en", own, dry_run, retrospective)
    assert own.read_bytes() == before and list(tmp_path.rglob("*.md")) == []


def test_a_report_and_an_empty_file_are_replaced(project: Project, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    out.touch()
    for retrospective in (False, True, True, False):
        report_command(project.run, "en", out, False, retrospective)
        assert out.stat().st_size


def not_run_commands(element: Element) -> list[str]:
    notes = [p for p in element.iter("p") if p.get("class") == "not-run"]
    return [text_of(code) for note in notes for code in note.iter("code")]


@BOTH
def test_what_was_not_run_says_how_to_make_it(project: Project, lang: str) -> None:
    shutil.rmtree(project.run / "eval")
    shutil.rmtree(project.root / "exports")
    shutil.rmtree(project.root / "datasets")
    read = page(project, lang)
    assert not_run_commands(read.section("evaluation")) == [
        "megatron-recipe eval perplexity exports/demo --dataset datasets/demo --out runs/demo/eval/perplexity.json",
        "megatron-recipe convert to-hf runs/demo exports/demo",
    ]
    assert not_run_commands(read.section("samples")) == [
        "megatron-recipe eval generate exports/demo --out runs/demo/eval/samples.json"
    ]
    assert not_run_commands(read.section("data")) == ["megatron-recipe data prepare SOURCE --out datasets/demo"]
    assert read.value("loss") == f"{project.validation[-1]['loss']:.3f}"  # the last validation stands in
    assert read.value("gap") == "—"
    assert not any(e.get("data-id") == "unigram" for e in read.root.iter())


@BOTH
def test_a_run_without_metrics_says_so(project: Project, lang: str) -> None:
    for name in ("metrics.jsonl", "events.jsonl", "environment.json"):
        (project.run / name).unlink()
    shutil.rmtree(project.run / "eval")
    read = page(project, lang)
    assert not_run_commands(read.section("training")) == ["megatron-recipe train --config runs/demo/config.yaml"]
    assert {"en": "no metrics yet", "zh": "还没有任何指标"}[lang] in text_of(read.root)
    assert read.value("train-loss") == "—"


def test_a_folder_that_is_no_run(project: Project, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run"):
        write_report(project.root / "datasets")
    assert not (project.root / "datasets" / "report.html").exists()


@BOTH
def test_one_step_is_enough(project: Project, lang: str) -> None:
    write_lines(project.run / "metrics.jsonl", project.train[:1])
    assert page(project, lang).value("steps") == "1"


def test_hostile_text_is_shown_and_does_nothing(project: Project) -> None:
    manifest = json.loads(json.dumps(project.manifest))
    manifest["sources"][0].update(name=HOSTILE, license="<b>MIT</b>")
    manifest["counts"]["dropped"]["<img src=x onerror=alert(1)>"] = 1
    write(project.root / "datasets" / "demo" / "manifest.json", manifest)
    events = [*EVENTS, {"time": "now", "event": "<i>", "step": 3, "note": HOSTILE}]
    write_lines(project.run / "events.jsonl", events)
    read = page(project)
    assert not [e for e in read.root.iter() if e.tag in ("script", "img") or any(k.startswith("on") for k in e.attrib)]
    quotes = [text_of(quote) for quote in read.root.iter("blockquote")]
    shown = 'Bold: <script>alert("x")</script> & ⟨U+001B⟩[31m red ⟨U+0000⟩ ⟨U+202E⟩ reversed \ufffd ' + "x" * 400
    assert f"{shown} {shown}" in quotes
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", read.html)


def test_a_hostile_run_name(project: Project) -> None:
    run = project.run.rename(project.run.parent / "a & <b>$x$")
    read = Page(write_report(run))
    assert text_of(next(read.root.iter("h1"))) == "a & <b>$x$"


def test_the_prompt_is_told_from_the_continuation(project: Project) -> None:
    quote = next(page(project).root.iter("blockquote"))
    prompt = next(quote.iter("b"))
    assert (prompt.get("class"), prompt.text) == ("prompt", "The function returns")
    assert (prompt.tail or "").startswith(" a new array")


def test_a_sample_without_a_continuation_says_so(project: Project) -> None:
    samples = {"created": "now", "samples": [{"prompt": "p", "text": "", "mode": "greedy"}]}
    write(project.run / "eval" / "samples.json", samples)
    assert [text_of(quote) for quote in page(project).root.iter("blockquote")] == ["p (here the model ended the text)"]


def test_a_time_that_is_none_is_escaped(project: Project) -> None:
    write(project.run / "eval" / "perplexity.json", {**PERPLEXITY, "created": "<u>now</u>", "device": "<u>gpu</u>"})
    read = page(project)
    assert "<u>gpu</u>, <u>now</u>" in " ".join(text_of(read.section("evaluation")).split()).replace(" ,", ",")
    assert not list(read.root.iter("u"))


@BOTH
def test_nan_and_infinity_are_gaps_and_are_said(project: Project, lang: str) -> None:
    records: list[dict[str, Any]] = [dict(record) for record in project.train]
    for step in (120, 121, 122):
        records[step - 1]["loss"] = math.nan
    records[200]["grad_norm"] = math.inf
    write_lines(project.run / "metrics.jsonl", records)
    assert "NaN" in (project.run / "metrics.jsonl").read_text()
    read = page(project, lang)
    assert [int(n) for n in NUMBER.findall(read.value("gaps-loss"))] == [3, 120]
    assert [int(n) for n in NUMBER.findall(read.value("gaps-grad_norm"))] == [1, 201]
    raw = next(g for g in read.root.iter("g") if g.get("id") == "loss860-raw")
    assert next(raw.iter("path")).get("d", "").count("M ") == 2


def test_all_losses_nan(project: Project) -> None:
    write_lines(project.run / "metrics.jsonl", [{**record, "loss": math.nan} for record in project.train])
    shutil.rmtree(project.run / "eval")
    assert page(project).value("train-loss") == "—"


def test_a_model_worse_than_counting_is_called_so(project: Project) -> None:
    split = {**PERPLEXITY["splits"]["validation"], "loss": 7.0, "perplexity": math.exp(7.0)}
    write(project.run / "eval" / "perplexity.json", {**PERPLEXITY, "splits": {"validation": split}})
    read = page(project)
    assert "Above the unigram baseline" in text_of(read.root)
    assert "no better than a table of frequencies" in text_of(read.root)
    assert read.value("gap") == f"{7.0 - split['unigram_loss']:.3f}"


def test_an_evaluation_without_a_unigram_baseline(project: Project) -> None:
    split = {**PERPLEXITY["splits"]["validation"], "unigram_loss": None}
    write(project.run / "eval" / "perplexity.json", {**PERPLEXITY, "splits": {"validation": split}})
    read = page(project)
    assert "No unigram baseline" in text_of(read.root)
    assert read.value("gap") == "—"


def test_a_gpu_run_shows_utilisation(project: Project) -> None:
    gpu = {"mfu_full": 0.607, "mfu_causal": 0.544, "tflops_per_gpu": 600.5, "memory_gb": 71.3}
    write_lines(project.run / "metrics.jsonl", [{**record, **gpu} for record in project.train])
    environment = json.loads((project.run / "environment.json").read_text())
    write(project.run / "environment.json", {**environment, "device": "NVIDIA H100 80GB HBM3", "world_size": 8})
    read = page(project)
    assert read.value("mfu") == "60.7% / 54.4%"
    assert read.value("tflops") == "600"
    assert read.value("memory") == "71.3 GB"
    assert read.value("device") == "8 × NVIDIA H100 80GB HBM3"
    assert "on 8 × NVIDIA H100 80GB HBM3" in text_of(read.root)


def test_an_export_that_failed_is_not_called_the_same(project: Project) -> None:
    export = json.loads(json.dumps(project.export))
    export["comparison"].update(passed=False, top1_agreement=0.98765)
    write(project.root / "exports" / "demo" / "export.json", export)
    read = page(project)
    assert "NOT the same model" in text_of(read.section("evaluation"))
    assert read.value("export-top1") == "98.77%"


def test_steps_taken_again_are_counted(project: Project) -> None:
    lines = project.train[:300] + project.train[200:]
    write_lines(project.run / "metrics.jsonl", lines)
    read = page(project)
    assert NUMBER.findall(read.value("redone")) == ["100"]
    assert read.value("steps") == "400"


def test_configuration_environment_commands_and_events(project: Project) -> None:
    read = page(project)
    facts = text_of(read.section("facts"))
    assert next(read.section("facts").iter("pre")).text == (project.run / "config.yaml").read_text()
    assert "megatron-recipe train --config runs/demo/config.yaml" in facts
    assert "2.11.0+cpu" in facts
    assert [row[1:3] for row in read.rows("events")] == [[event["event"], f"{event['step']:,}"] for event in EVENTS]
    assert f"{CONFIG['model']['num_layers']} layers × 128" in text_of(read.root)


def test_a_long_list_of_checkpoints_is_cut_but_nothing_unusual_is(project: Project) -> None:
    saved = [{"time": "2026-11-24T06:00:00Z", "event": "checkpoint_saved", "step": 10 * n} for n in range(500)]
    write_lines(project.run / "events.jsonl", [saved[0], EVENTS[2], *saved[1:], EVENTS[-1]])
    read = page(project)
    names = [row[1] for row in read.rows("events")]
    assert len(names) == 60
    assert names[0] == "resume"
    assert names[-1] == "end"
    assert "The 442 oldest checkpoints" in text_of(read.section("facts"))


def test_a_long_run_stays_small(project: Project) -> None:
    write_lines(project.run / "metrics.jsonl", train_records(50_000))
    path = write_report(project.run)
    assert path.stat().st_size < 400_000
    Page(path)


def test_the_command_writes_and_its_dry_run_does_not(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    report_command(Path("runs/demo"), "en", None, True)
    said = capsys.readouterr().err
    assert "400 training and 8 validation records" in said
    assert "would write runs/demo/report.html" in said
    assert not (project.run / "report.html").exists()
    report_command(Path("runs/demo"), "zh", None, False)
    assert "runs/demo/report.html" in capsys.readouterr().err
    assert (project.run / "report.html").is_file()


def test_a_blend_of_datasets(project: Project) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["data"]["datasets"] = [{"path": "datasets/demo", "weight": 3.0}, {"path": "datasets/gone", "weight": 1.0}]
    (project.run / "config.yaml").write_text(json.dumps(config))
    read = page(project)
    assert f"{75 * 400 * 4096 / 3_912_004:.1f}%" in read.value("passes")
    assert not_run_commands(read.section("data")) == ["megatron-recipe data prepare SOURCE --out datasets/gone"]


def test_a_loss_that_is_no_number_is_said_and_not_compared(project: Project) -> None:
    split = {**PERPLEXITY["splits"]["validation"], "loss": math.nan, "perplexity": math.nan}
    write(project.run / "eval/perplexity.json", {**PERPLEXITY, "splits": {"validation": split}})
    text = write_report(project.run).read_text(encoding="utf-8")
    assert "The held-out loss is not a number" in text and "which is NaN more" not in text
