"""The retrospective: nothing in it is invented, and the author's words survive."""

import json
import re
from pathlib import Path

import pytest
from eventful_run import BATCH_TOKENS, PRICE_PER_HOUR, STEP_SECONDS, STEPS, write_eventful_run
from html_page import Page, text_of
from made_comparison import comparison, write_comparison
from made_run import PERPLEXITY, Project, train_records, write, write_lines

from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.report import report_command, write_retrospective
from megatron_recipe.report.markdown import author_words
from megatron_recipe.report.words import Words

BOTH = pytest.mark.parametrize("lang", ["en", "zh"])
UNMEASURED = {"en": "not measured", "zh": "未测"}
PARTS = ("metrics.jsonl", "events.jsonl", "environment.json", "spending.json", "eval")
SPENT = (40 + STEP_SECONDS * STEPS) / 3600 * PRICE_PER_HOUR


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eventful_run(tmp_path_factory.mktemp("project") / "runs" / "gpt_1b")


def facts(page: Page, section: str) -> dict[str, str]:
    """Labels and values of a section, the notes left out."""
    return {
        text_of(fact[0]): text_of(fact[1], skip=("small",))
        for fact in page.section(section).iter("div")
        if fact.get("class") == "fact"
    }


def verdicts(page: Page) -> list[str]:
    return [row[1] for row in page.rows("scorecard")]


@BOTH
def test_a_run_without_any_record_has_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lang: str) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs/bare")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("{}\n")
    page = Page(write_retrospective(run, lang=lang))
    assert verdicts(page) == [UNMEASURED[lang]] * 5
    for section in ("facts", "cost"):
        assert set(facts(page, section).values()) == {UNMEASURED[lang]}
    for section in ("problems", "findings", "otherwise", "interview"):
        assert not re.search(r"\d", text_of(page.section(section))), section
    text = (run / "retrospective.md").read_text()
    assert not re.search(r"^- .*\d", text, re.MULTILINE)
    assert text.count(f": {UNMEASURED[lang]}") >= 20


@BOTH
@pytest.mark.parametrize("part", PARTS)
def test_what_one_missing_file_would_say_is_not_measured(
    project: Project, lang: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = {"began": "2026-11-24T06:02:11+00:00", "seconds": 420.0, "price_per_hour": 6.0, "currency": "cny"}
    write(project.run / "spending.json", {"instances": [instance]})
    lost = {
        "metrics.jsonl": (
            "fact.tokens",
            "fact.steps",
            "fact.train_loss",
            "fact.duration",
            "fact.speed",
            "facts.per_parameter",
            "cost.per_billion",
        ),
        "events.jsonl": ("facts.last",),
        "environment.json": ("fact.parameters", "fact.device", "facts.per_parameter"),
        "spending.json": (
            "cost.amount",
            "cost.per_billion",
            "cost.running",
            "cost.wall",
            "cost.instances",
            "cost.hourly",
        ),
        "eval": (),  # the validation in training stands in for it
    }
    path = project.run / part
    path.rename(path.with_suffix(".gone"))
    page, words = Page(write_retrospective(project.run, lang=lang)), Words(lang)
    said = {**facts(page, "facts"), **facts(page, "cost")}
    expected = {words(key) for key in lost[part]} | {words("fact.mfu"), words("cost.energy")}
    assert {label for label, value in said.items() if value == UNMEASURED[lang]} == expected
    goals = {row[0]: row for row in page.rows("scorecard")}
    assert goals[words("goal.cost", limit="3,000")][1] == (
        UNMEASURED[lang] if part == "spending.json" else words("yes")
    )
    size = UNMEASURED[lang] if part == "environment.json" else words("no")
    assert goals[words("goal.size")][1] == size
    if part == "eval":
        on_mix = words("goal.perplexity")
        assert f"{project.validation[-1]['perplexity']:.1f}" in goals[on_mix][2]


@BOTH
def test_a_run_of_which_all_is_known(eventful: Path, tmp_path: Path, lang: str) -> None:
    folder = write_comparison(tmp_path / "learning_rate")
    page = Page(write_retrospective(eventful, lang=lang, out=tmp_path / "r.html", comparisons=(folder,)))
    yes = {"en": "yes", "zh": "是"}[lang]
    assert verdicts(page) == [yes] * 7
    evidence = [row[2] for row in page.rows("scorecard")]
    assert f"¥{SPENT:,.2f}" in evidence[0]
    assert "1,039,204,352" in evidence[2] and "12,000" in evidence[2]
    assert "0.218 ± 0.050" in evidence[-1]
    assert [row[3] for row in page.rows("scorecard")][-1].endswith("learning_rate/comparison.json")
    said = facts(page, "cost")
    assert f"¥{SPENT:,.2f}" in said.values()
    assert f"¥{SPENT / (STEPS * BATCH_TOKENS) * 1e9:.2f}" in said.values()
    assert "0.218 ± 0.050" in text_of(page.section("findings"))
    assert "0.218 ± 0.050" in text_of(page.section("interview"))
    assert "42.3%" in text_of(page.section("otherwise"))


def test_perplexity_says_on_which_text_and_of_which_tokens(project: Project) -> None:
    page = Page(write_retrospective(project.run))
    row = next(row for row in page.rows("scorecard") if "perplexity" in row[0])
    assert row[:2] == ["Held-out perplexity below 20 on “validation”", "no"]
    assert (
        f"{PERPLEXITY['splits']['validation']['perplexity']:.1f} for exports/demo on the held-out text of datasets/demo"
        in row[2]
    )
    assert "sentencepiece-bpe, vocabulary 4,096" in row[2]
    assert row[3] == "runs/demo/eval/perplexity.json"


def test_benchmarks_are_set_against_chance(project: Project) -> None:
    entry = {"score": 0.2754, "stderr": 0.0045, "chance": 0.25, "questions": 10_042}
    near = {**entry, "score": 0.256}
    write(project.root / "exports/demo/eval/harness.json", {"tasks": {"hellaswag": entry, "arc": near}})
    page = Page(write_retrospective(project.run))
    assert page.rows("scores") == [
        ["hellaswag", "27.5% ± 0.4%", "25.0%", "10,042", "above chance"],
        ["arc", "25.6% ± 0.4%", "25.0%", "10,042", "not distinguishable from chance"],
    ]
    (project.root / "exports/demo/eval/harness.json").write_text("{}")
    with pytest.raises(DataError, match="holds no benchmark scores"):
        write_retrospective(project.run)


def test_the_authors_words_are_kept_in_any_language(project: Project) -> None:
    page = write_retrospective(project.run)
    file, words = page.with_suffix(".md"), "I would **start** smaller.\n\n- 先做数据 <b>"
    text = file.read_text()
    assert author_words(file) == {}
    begin = "<!-- your words: otherwise -->\n"
    file.write_text(text.replace(begin, begin + words))
    for lang in ("en", "zh", "en"):
        read = Page(write_retrospective(project.run, lang=lang))
        place = next(e for e in read.root.iter("div") if e.get("data-place") == "otherwise")
        assert "".join(place[1].itertext()) == words
        assert author_words(file) == {"otherwise": words}


def test_words_for_a_place_that_is_no_longer_asked_about_are_kept(project: Project) -> None:
    file = project.run / "retrospective.md"
    file.write_text("<!-- your words: luck -->\nA lot.\n<!-- end of luck -->\n")
    read = Page(write_retrospective(project.run))
    assert "A lot." in text_of(read.section("notes"))
    assert author_words(file) == {"luck": "A lot."}


def test_another_markdown_file_is_not_replaced(project: Project) -> None:
    (project.run / "retrospective.md").write_text("# My own notes\n")
    with pytest.raises(ConfigError, match=r"retrospective\.md has no places.*--out"):
        write_retrospective(project.run)
    assert (project.run / "retrospective.md").read_text() == "# My own notes\n"
    assert not (project.run / "retrospective.html").exists()


def test_the_command_tells_runs_from_comparisons(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_comparison(project.root / "comparisons" / "lr", comparison(seeds=(1,)))
    report_command(folder, "en", None, False)
    assert (folder / "report.html").is_file() and (folder / "report.md").is_file()
    assert "comparisons/lr/report.html" in capsys.readouterr().err
    report_command(project.run, "zh", None, True, retrospective=True, comparisons=(folder,))
    said = capsys.readouterr().err
    assert "400 training" in said and "comparison learning_rate: 3 settings, 3 of 3 runs" in said
    assert "would write" in said and "retrospective.html" in said
    assert not (project.run / "retrospective.html").exists()
    report_command(project.run, "zh", None, False, retrospective=True, comparisons=(folder,))
    assert (project.run / "retrospective.md").is_file()


def test_the_command_refuses_what_does_not_go_together(project: Project) -> None:
    folder = project.root / "lr"
    folder.mkdir()
    (folder / "comparison.json").write_text(json.dumps(comparison()))
    with pytest.raises(ConfigError, match="--comparison lr is for the retrospective only; add --retrospective"):
        report_command(project.run, "en", None, False, comparisons=(Path("lr"),))
    with pytest.raises(ConfigError, match="--price 5/h is for the retrospective only"):
        report_command(project.run, "en", None, False, price="5/h")
    with pytest.raises(ConfigError, match="--retrospective is about a run, and lr is a comparison"):
        report_command(Path("lr"), "en", None, False, retrospective=True)
    with pytest.raises(ConfigError, match=r"--out=lr\.md names the page.*try lr\.html"):
        report_command(Path("lr"), "en", Path("lr.md"), False)
    with pytest.raises(ConfigError, match="--price free: write what the machine costs"):
        report_command(project.run, "en", None, True, retrospective=True, price="free")
    with pytest.raises(ConfigError, match="--out=lr is a folder"):
        report_command(Path("lr"), "en", Path("lr"), False)
    for dry_run in (True, False):
        with pytest.raises(DataError, match=r"neither a run .* nor a comparison"):
            report_command(project.root / "datasets", "en", None, dry_run)


@pytest.mark.parametrize(
    ("mark", "instead"),
    [
        ("<!-- end of otherwise -->", "<!-- end of -->"),
        ("<!-- end of otherwise -->", ""),
        ("<!-- your words: otherwise -->", ""),
        ("<!-- your words: otherwise -->", "<!-- your words: other -->"),
    ],
)
def test_words_behind_a_damaged_mark_are_not_lost(project: Project, mark: str, instead: str) -> None:
    write_retrospective(project.run)
    file = project.run / "retrospective.md"
    text = file.read_text(encoding="utf-8").replace(mark, f"{instead} my words")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"retrospective\.md, line \d+: <!-- .* has lost the mark that belongs to it"):
        write_retrospective(project.run)
    assert file.read_text(encoding="utf-8") == text


def test_marks_may_be_written_with_other_spaces(project: Project) -> None:
    write_retrospective(project.run)
    file = project.run / "retrospective.md"
    text = file.read_text(encoding="utf-8")
    text = text.replace("<!-- your words: otherwise -->\n", "<!--your words: otherwise-->  all on one line ")
    file.write_text(text, encoding="utf-8")
    write_retrospective(project.run)
    assert author_words(file) == {"otherwise": "all on one line"}
    file.write_bytes("我的话".encode("gb18030"))
    with pytest.raises(ConfigError, match=r"not UTF-8 at byte 0.*save it as UTF-8"):
        write_retrospective(project.run)


def test_waiting_for_data_is_the_share_of_a_step_that_was_recorded(project: Project) -> None:
    records = [{**record, "data_wait_share": 0.004, "data_wait_seconds": 9.0} for record in train_records()]
    write_lines(project.run / "metrics.jsonl", records)
    assert "0.4%" in text_of(Page(write_retrospective(project.run)).section("otherwise"))


def test_a_place_that_stands_twice_is_refused(project: Project) -> None:
    write_retrospective(project.run)
    file = project.run / "retrospective.md"
    place = "<!-- Your words: otherwise --> one <!-- End of otherwise -->"
    file.write_text(file.read_text(encoding="utf-8") + place, encoding="utf-8")
    with pytest.raises(ConfigError, match="stands there twice"):
        write_retrospective(project.run)
