"""The quiz: only what was found is asked, every figure is the ledger's, and the user's own answers stay."""

import json
import shutil
from pathlib import Path
from string import Formatter

import pytest
from made_month import ledger_of, write

from benchmarks.month_figures import shows, strange_figures
from megatron_recipe.month.output import as_values
from megatron_recipe.month.quiz import PAGE, QUIZ, questions
from megatron_recipe.month.quiz_page import write_quiz
from megatron_recipe.month.strings import EVIDENCE

LANGUAGES = pytest.mark.parametrize("lang", ["en", "zh"])


def test_nothing_is_asked_of_an_empty_folder(tmp_path: Path) -> None:
    assert questions(ledger_of(tmp_path), "en") == []


def test_what_was_found_is_asked_once(month_folder: Path) -> None:
    names = [question.name for question in questions(ledger_of(month_folder), "en")]
    assert len(names) == len(set(names))
    assert {"spike_rolled_back", "speed", "bill", "dataset", "incident-lr-x10", "benchmark-hellaswag"} <= set(names)
    assert not {"spike", "diagnosis", "speed_without_mfu"} & set(names)
    assert names == [question.name for question in questions(ledger_of(month_folder), "zh")]


@LANGUAGES
def test_every_figure_of_the_written_quiz_is_in_the_ledger(month_folder: Path, tmp_path: Path, lang: str) -> None:
    ledger = ledger_of(month_folder)
    text = write_quiz(questions(ledger, lang), tmp_path / "quiz.html", lang).read_text(encoding="utf-8")
    content = json.loads(json.dumps(as_values(ledger, lang)))
    count, strange = strange_figures(text, content)
    assert count > 60 and strange == []
    assert strange_figures(text.replace("5,430", "5,431"), content)[1] == ["5,431"] * text.count("5,430")


def test_figures_are_compared_with_their_own_digits() -> None:
    assert shows("41.2%".rstrip("%"), 0.412) and shows("1,039.2", 1039.204) and shows("3.2e-05", 3.2e-05)
    assert not shows("41.3", 0.412) and not shows("1,039.20", 1039.214)


def test_an_answer_follows_the_file(month_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(month_folder, tmp_path / "month"))
    path = root / "runs/big/eval/perplexity.json"
    content = json.loads(path.read_text())
    content["splits"]["validation"]["loss"] = 2.777
    write(path, content)
    asked = next(one for one in questions(ledger_of(root), "en") if one.name.startswith("perplexity"))
    assert asked.question == "Your held-out loss is 2.777. Is that good?"


def test_own_answers_stay_in_both_languages(month_folder: Path, tmp_path: Path) -> None:
    ledger, page = ledger_of(month_folder), tmp_path / "quiz.html"
    markdown = write_quiz(questions(ledger, "en"), page, "en")
    place = "<!-- your words: spike_rolled_back -->\n"
    markdown.write_text(
        markdown.read_text(encoding="utf-8").replace(place, f"{place}I looked at the data."), encoding="utf-8"
    )
    write_quiz(questions(ledger, "zh"), page, "zh")
    assert f"{place}I looked at the data." in markdown.read_text(encoding="utf-8")
    assert "I looked at the data." in page.read_text(encoding="utf-8")
    assert "梯度" in page.read_text(encoding="utf-8") or "损失" in page.read_text(encoding="utf-8")


def test_both_languages_ask_the_same_with_the_same_figures() -> None:
    assert list(QUIZ["en"]) == list(QUIZ["zh"]) and list(PAGE["en"]) == list(PAGE["zh"])

    def fields(texts: tuple[str, ...]) -> list[str]:
        return sorted({name for text in texts for _, name, _, _ in Formatter().parse(text) if name})

    for kind, texts in QUIZ["en"].items():
        assert len(texts) == len(QUIZ["zh"][kind]), kind
        assert fields(texts) == fields(QUIZ["zh"][kind]), kind
        assert kind in EVIDENCE["en"]
