"""Pages, records and pictures of incidents, and the summary, in both languages."""

import html
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from incident_folders import made_case, write_run

from megatron_recipe.lab import incident_figures
from megatron_recipe.lab.incident_figures import PLOTS, read_plots, series
from megatron_recipe.lab.incident_measures import NAMED
from megatron_recipe.lab.incident_page import PAGES, RECORDS, asked_for, write_pages
from megatron_recipe.lab.incident_result import write_incident_result
from megatron_recipe.lab.incident_summary import MARKDOWN, SUMMARIES, write_summary
from megatron_recipe.lab.incident_wording import figure_name
from megatron_recipe.lab.incident_words import CHINESE, ENGLISH, WORDS
from megatron_recipe.languages import LANGUAGES

BOTH = pytest.mark.parametrize("lang", LANGUAGES)


def text_of(page: str) -> str:
    """What a page says, without drawings and style."""
    page = re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)))


@pytest.fixture(scope="module")
def lab(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A folder with an incident that was seen, one that was not, and one that was not run."""
    folder = tmp_path_factory.mktemp("incidents")
    cases = [made_case(name, dataset, folder) for name in ("pure-fp16", "no-gradient-clipping", "lr-x10")]
    fp16, clipping, _ = cases
    write_run(fp16.acts["control"].folder, fp16, "control")
    gone = {"update_ratio": float("nan")} | {
        name: lambda step, old: old if step < 40 else float("nan") for name in ("loss", "loss_mean", "loss_max")
    }
    write_run(fp16.acts["incident"].folder, fp16, "incident", **gone, held_out=float("nan"))
    write_run(fp16.acts["remedy"].folder, fp16, "remedy")
    write_run(clipping.acts["incident"].folder, clipping, "incident")
    write_run(clipping.acts["remedy"].folder, clipping, "remedy", held_out=9.0)
    results = [write_incident_result(case, "megatron-recipe lab all") for case in cases]
    some = {name: PLOTS[name] for name in ("loss", "update_ratio", "loss_scale", "speed")}
    with pytest.MonkeyPatch.context() as patch:  # drawing takes its time
        patch.setattr(incident_figures, "PLOTS", some)
        for case, result in zip(cases, results, strict=True):
            write_pages(result, case.folder)
    write_summary(results, folder, "en")
    return folder, results


def test_both_languages_have_the_same_words() -> None:
    assert ENGLISH.keys() == CHINESE.keys()
    for key in ENGLISH:
        assert re.findall(r"{\w*", ENGLISH[key]) == re.findall(r"{\w*", CHINESE[key]) or sorted(
            re.findall(r"{(\w*)", ENGLISH[key])
        ) == sorted(re.findall(r"{(\w*)", CHINESE[key])), key


@BOTH
def test_a_page_says_what_was_measured(lab: tuple[Path, list[dict[str, Any]]], lang: str) -> None:
    page = (lab[0] / "pure-fp16" / PAGES[lang]).read_text(encoding="utf-8")
    said = text_of(page)
    assert {"en": "nats inf (limit ≤ 6.489 = 1.03 × 6.3); in the control 6.3.", "zh": "；对照组为 6.3。"}[lang] in said
    assert "loss, grad_norm nan" in said
    assert {"en": "at 1.000 of the control's held-out loss", "zh": "是对照组的 1.000"}[lang] in said
    assert "steps 40-200" in said or "第 40-200 步" in said
    assert "{" not in said and "None" not in said
    for role in ("control", "incident", "remedy"):
        assert f'id="incident-loss860-{role}"' in page  # three curves, one over the other
    assert 'id="incident-loss860-end-incident"' in page and "end-control" not in page
    assert 'id="incident-update_ratio860-incident"' not in page
    assert {"en": "Not drawn: incident, which recorded no", "zh": "未画出：事故组没有记录到任何有限值"}[lang] in said
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


@BOTH
def test_the_record_has_the_figures_of_the_run(lab: tuple[Path, list[dict[str, Any]]], lang: str) -> None:
    folder, results = lab
    record = (folder / "pure-fp16" / RECORDS[lang]).read_text(encoding="utf-8")
    for part in ("phenomenon", "cause", "learned"):
        assert results[0]["incident"][part][lang][:20] in record
    name = {"en": "held-out loss, nats", "zh": "验证损失，奈特"}[lang]
    assert f"| {name} | 6.3 | inf | 6.3 |" in record
    assert "pictures/loss.png" in record


def test_pictures_are_files(lab: tuple[Path, list[dict[str, Any]]]) -> None:
    pictures = sorted(path.name for path in (lab[0] / "pure-fp16/pictures").iterdir())
    assert pictures == ["loss.png", "update_ratio.png"]  # speed was not asked for, and loss_scale not recorded
    assert all((lab[0] / "pure-fp16/pictures" / name).read_bytes()[:4] == b"\x89PNG" for name in pictures)


@BOTH
def test_what_was_not_seen_or_not_run_says_so(lab: tuple[Path, list[dict[str, Any]]], lang: str) -> None:
    folder, results = lab
    clipping = text_of((folder / "no-gradient-clipping" / PAGES[lang]).read_text(encoding="utf-8"))
    assert {"en": "Not seen at this scale.", "zh": "在此规模下未见到。"}[lang] in clipping
    assert results[1]["incident"]["seen_at"][lang][:25] in clipping
    assert {"en": "not recovered", "zh": "未恢复"}[lang] in clipping
    missing = text_of((folder / "lr-x10" / PAGES[lang]).read_text(encoding="utf-8"))
    assert {"en": "Not run to the end.", "zh": "没有运行到结束。"}[lang] in missing
    assert {"en": "not measured", "zh": "未测得"}[lang] in missing or {"en": "not run", "zh": "未运行"}[lang] in missing


@BOTH
def test_the_summary_leads_to_the_evidence(lab: tuple[Path, list[dict[str, Any]]], lang: str) -> None:
    folder = lab[0]
    page = (folder / SUMMARIES[lang]).read_text(encoding="utf-8")
    links = re.findall(r'href="([^"#]+)"', page)
    assert f"pure-fp16/{PAGES[lang]}" in links
    assert all((folder / link).is_file() for link in links)
    assert f"(<pure-fp16/{PAGES[lang]}>)" in (folder / MARKDOWN[lang]).read_text(encoding="utf-8")
    said = text_of(page)
    assert {"en": "1 of 3 incidents were seen", "zh": "3 个事故中有 1 个在此见到"}[lang] in said
    assert "{" not in said and "None" not in said
    row = re.search(r"<tr><th[^>]*>(Not a number|出现 NaN).*?</tr>", page, flags=re.DOTALL)
    assert row is not None and "pure-fp16/" in row.group()  # the check that fired there


@BOTH
def test_every_figure_has_a_name(lang: str) -> None:
    assert all(f"figure.{name}" in WORDS[lang] for name in NAMED)
    assert figure_name("update_ratio.highest", lang) in ("highest update_ratio", "update_ratio 最高值")


def test_what_the_criterion_rests_on_is_drawn_first(lab: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, results = lab
    runs = {"control": folder / "controls/control", "incident": folder / "pure-fp16/incident"}
    names = [plot.name for plot in read_plots(runs, {"update_ratio", "data_wait"})]  # type: ignore[arg-type]
    assert names[0] == "update_ratio" and "speed" in names
    assert "speed" not in [plot.name for plot in read_plots(runs, set())]  # type: ignore[arg-type]
    assert {"loss, grad_norm", "not_a_number", "spike (nan)"} <= asked_for(results[0])


def test_a_loss_begins_with_the_first_step() -> None:
    records = [
        {"step": 4, "tokens": 400, "loss": 7.0, "initial_loss": 8.3},
        {"step": 8, "tokens": 800, "loss": math.inf},
        {"step": 12, "tokens": 1200},
    ]
    curve = series(records, ("loss_mean", "loss"))
    assert curve.steps.tolist() == [100, 400, 800] and curve.finite.tolist() == [8.3, 7.0]
    assert len(series(records, ("update_ratio",)).steps) == 0


def test_the_summarys_values(lab: tuple[Path, list[dict[str, Any]]]) -> None:
    values = json.loads((lab[0] / "summary.json").read_text())
    assert [one["verdict"] for one in values["incidents"]] == ["seen", "not seen", "not run"]
    assert values["incidents"][0]["control_seen"] is False
