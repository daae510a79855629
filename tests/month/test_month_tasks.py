"""The tasks: in both languages, with commands that the CLI has and tests that exist, and their table in the docs."""

import sys
from pathlib import Path

import pytest
from made_month import MONTH

from megatron_recipe.errors import DataError
from megatron_recipe.month.evidence import recognisers
from megatron_recipe.month.reference import FILES, TABLES, table
from megatron_recipe.month.tasks import Task, all_tasks, commands_of, filled, weeks

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/docs"))
TASKS = all_tasks()
EACH = pytest.mark.parametrize("task", TASKS, ids=[task.id for task in TASKS])


def test_five_weeks_in_their_order() -> None:
    assert len(weeks()) == 5
    assert len({task.id for task in TASKS}) == len(TASKS)
    assert [task.day for task in TASKS] == sorted(task.day for task in TASKS)
    assert TASKS[0].day == 1 and TASKS[-1].day == 30
    assert sum(task.kind == "deliverable" for task in TASKS) == 11


@EACH
def test_a_task_can_be_done_and_proved(task: Task) -> None:
    assert task.evidence or task.said
    assert {evidence.partition(":")[0] for evidence in task.evidence} <= set(recognisers())
    for lang in ("en", "zh"):
        texts = [filled(text.of(lang), MONTH, lang) for text in (task.title, task.why, task.see)]
        texts += [filled(there.of(lang), MONTH, lang) for there in task.on_platform.values()]
        assert not any("{" in text for text in (*texts, *commands_of(task, MONTH, lang)))
    assert any("一" <= character <= "鿿" for character in task.why.zh)


@EACH
@pytest.mark.parametrize("scale", ["full", "miniature"])
def test_its_commands_are_understood(task: Task, scale: str) -> None:
    from doc_commands import simple_commands, wrong

    for lang in ("en", "zh"):
        month = MONTH.model_copy(update={"scale": scale, "price_per_hour": 14.5})
        for command in commands_of(task, month, lang):
            for words in simple_commands(command):
                at = words.index("megatron-recipe") if "megatron-recipe" in words else 0
                assert wrong(words[at:], True) is None, command


@EACH
def test_the_tests_that_it_names_exist(task: Task) -> None:
    for test in task.tests:
        file, _, function = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert not function or f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("lang", sorted(FILES))
def test_the_docs_have_the_table(lang: str) -> None:
    text = (ROOT / "docs" / FILES[lang]).read_text(encoding="utf-8")
    assert TABLES.put(text, lang) == text, "python -m megatron_recipe.month.reference docs"
    for task in TASKS:
        assert f"`{task.id}`" in table(lang)


def test_only_the_table_is_replaced(tmp_path: Path) -> None:
    for name in FILES.values():
        (tmp_path / name).write_text("a\n<!-- table: begin -->\nold\n<!-- table: end -->\nb\n")
    assert len(TABLES.write(tmp_path)) == 2
    text = (tmp_path / "month.md").read_text(encoding="utf-8")
    assert text.startswith("a\n") and text.endswith("\nb\n") and "old" not in text
    with pytest.raises(DataError, match="lacks the marks"):
        TABLES.put("no marks", "en")
