"""Every command in the READMEs and docs/ is one that the command line, the Makefile or a script understands."""

from pathlib import Path

import pytest
from doc_commands import shown, wrong
from doc_pages import all_pages, name_of, text_of


def faults(text: str) -> list[str]:
    """The commands of a page that are not understood, with the reason."""
    found = ((words, wrong(words, whole)) for words, whole in shown(text))
    return [f"{' '.join(words)} -> {fault}" for words, fault in found if fault]


@pytest.mark.parametrize("page", [page for page in all_pages() if page.name != "commands.md"], ids=name_of)
def test_commands_are_understood(page: Path) -> None:
    assert faults(text_of(page)) == []


def test_there_is_something_to_check() -> None:
    """A reader of pages that no longer finds the commands would let everything pass."""
    counts = {name_of(page): len(list(shown(text_of(page)))) for page in all_pages()}
    assert counts["docs/training.md"] > 10 and counts["docs/clouds.md"] > 25 and counts["README.md"] > 5
    assert sum(counts.values()) > 200


BLOCK = "```\n{}\n```\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BLOCK.format("megatron-recipe trian gpt_1b"), "no command trian"),
        (BLOCK.format("megatron-recipe data prepaire x"), "no command data prepaire"),
        (BLOCK.format("megatron-recipe train gpt_1b --sett a.b=1"), "--sett"),
        (BLOCK.format("megatron-recipe plan gpt_1b --gpus many"), "many"),
        (BLOCK.format("megatron-recipe convert to-hf runs/NAME"), "Missing parameter"),
        (BLOCK.format("megatron-recipe train gpt_1b --set train.stepps=3"), "no setting train.stepps"),
        (BLOCK.format("megatron-recipe train gpt_1b --set train.steps=-3"), "train.steps"),
        (BLOCK.format("megatron-recipe train gpt_1b \\\n    --nonsense   # a comment"), "--nonsense"),
        (BLOCK.format("cd x && .venv/bin/megatron-recipe nonsense"), "no command nonsense"),
        (BLOCK.format("make demos"), "no target demos"),
        (BLOCK.format('make demo ARGS="--sources x"'), "--sources"),
        (BLOCK.format("./launch/pretrain_2b.sh"), "no file"),
        (BLOCK.format("torchrun --nproc-per-node 2 launch/pretrain_1b.sh --set nothing=1"), "no setting nothing"),
        (BLOCK.format("bash launch/multinode.sh --nodess 2 launch/pretrain_1b.sh ARGS"), "--nodess"),
        (BLOCK.format('megatron-recipe launch lambda run "launch/pretrain_1b.sh\n  --run-dirs x"'), "--run-dirs"),
        (BLOCK.format("python -m benchmarks.nothing"), "no module benchmarks.nothing"),
        (BLOCK.format("python -m benchmarks.faults --killed 50"), "--killed"),
        (BLOCK.format("pip install 'megatron-recipe[evals]'"), "no extra evals"),
        ("`megatron-recipe data\nreport DIR --language zh`", "--language"),
    ],
)
def test_mistakes_are_found(text: str, reason: str) -> None:
    assert [reason in fault for fault in faults(text)] == [True], faults(text)
