"""The miniature month: what it makes smaller fits the ledger's commands; its made questions have one right answer."""

import random
from datetime import date

from benchmarks.month import FINDINGS, NOT_HERE, ONCE, OTHERWISE, SMALLER
from benchmarks.month_hub import CONTEXT, ENDING, question
from megatron_recipe.month.month_file import Month
from megatron_recipe.month.tasks import all_tasks, commands_of

MINIATURE = Month(begins=date(2026, 11, 1), ends=date(2026, 11, 30), scale="miniature")


def test_every_change_fits_a_command_of_the_ledger() -> None:
    commands = [command for task in all_tasks() for command in commands_of(task, MINIATURE, "en")]
    for text in (*SMALLER, *OTHERWISE, *FINDINGS, *NOT_HERE, *ONCE):
        assert any(text in command for command in commands), text


def test_no_long_training_is_left_as_it_is() -> None:
    shortened = ("--set train.steps", "--run-dir runs/small", "--run-dir runs/big")
    for task in all_tasks():
        for command in commands_of(task, MINIATURE, "en"):
            if " train " in command and not task.needs_gpu:
                assert any(text in command for text in shortened), command


def test_a_made_question_goes_on_with_its_own_text() -> None:
    texts = [f"{name} " * 200 for name in ("alpha", "beta", "gamma", "delta", "epsilon")]
    for seed in range(20):
        context, endings, right = question(texts, random.Random(seed))
        assert len(endings) == 4 and len(context) + len(endings[right]) <= CONTEXT + ENDING
        word = max(context.split(), key=len)
        assert [word in ending for ending in endings].index(True) == right
        assert sum(word in ending for ending in endings) == 1
