"""The words of the checks: complete in both languages, with the limits of the code; the committed tables are theirs."""

from dataclasses import asdict
from pathlib import Path

import pytest
from made_metrics import healthy, write
from spoiled_metrics import SPOILED

from megatron_recipe.diagnose.criteria import CRITERIA, judge
from megatron_recipe.diagnose.criterion import GROUPS, STATES
from megatron_recipe.diagnose.output import words_of
from megatron_recipe.diagnose.reading import read_facts
from megatron_recipe.diagnose.reference import FILES, TABLES, table
from megatron_recipe.diagnose.signals import LIFE, Signals
from megatron_recipe.diagnose.strings import CHECKS, METRICS, PAGES
from megatron_recipe.errors import DataError

DOCS = Path(__file__).parents[2] / "docs"
LANGUAGES = pytest.mark.parametrize("lang", sorted(CHECKS))


@LANGUAGES
def test_every_check_has_its_words_with_its_limits(lang: str) -> None:
    names = [criterion.name for criterion in CRITERIA]
    assert sorted(CHECKS[lang]) == sorted(names)
    assert len(set(names)) == len({criterion.rank for criterion in CRITERIA}) == len(names)
    for name in names:
        for text in asdict(words_of(name, lang)).values():
            assert text
            assert "{" not in text


def test_both_languages_have_the_same_limits_in_their_criteria() -> None:
    def placeholders(text: str) -> list[str]:
        return sorted(part.split("}")[0] for part in text.split("{")[1:])

    for name, words in CHECKS["en"].items():
        assert placeholders(words.criterion) == placeholders(CHECKS["zh"][name].criterion), name


def test_both_pages_have_the_same_keys() -> None:
    assert sorted(PAGES["en"]) == sorted(PAGES["zh"])
    wanted = {f"state.{state}" for state in STATES} | {f"group.{group}" for group in GROUPS}
    assert wanted | {f"life.{life}" for life in ("", *LIFE)} <= set(PAGES["en"])


def test_figures_that_are_no_field_have_a_chinese_name(tmp_path: Path) -> None:
    made = healthy()
    written = {*made.train[0], *made.config["data"]}
    for spoil in SPOILED.values():
        spoil(made)
    found = judge(Signals(read_facts(write(made, tmp_path))))
    seen = {evidence.metric for one in found for evidence in one.finding.evidence}
    spoken = {metric for metric in seen if " " in metric and metric != "loss, grad_norm"} | {"epochs"}
    assert len(spoken) > 10
    assert spoken <= set(METRICS["zh"])
    assert not written & set(METRICS["zh"])


@LANGUAGES
def test_the_committed_table_is_that_of_the_code(lang: str) -> None:
    committed = (DOCS / FILES[lang]).read_text(encoding="utf-8")
    stale = "stale: run `python -m megatron_recipe.diagnose.reference docs`"
    assert committed == TABLES.put(committed, lang), stale
    assert committed.count("| **") == len(CRITERIA)


def test_the_table_is_put_between_its_marks(tmp_path: Path) -> None:
    for name in FILES.values():
        (tmp_path / name).write_text("a\n<!-- table: begin -->\nold\n<!-- table: end -->\nb\n")
    assert [path.name for path in TABLES.write(tmp_path)] == list(FILES.values())
    assert (tmp_path / FILES["en"]).read_text() == (
        f"a\n<!-- table: begin -->\n{table('en')}\n<!-- table: end -->\nb\n"
    )


def test_a_page_without_marks_is_named() -> None:
    with pytest.raises(DataError, match=r"diagnose\.md lacks the marks"):
        TABLES.put("no marks", "en")
