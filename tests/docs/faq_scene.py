"""What the messages of docs/faq.md are said in: a working folder, made settings and data, the error that must come."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.errors import RecipeError
from megatron_recipe.recipes import load_config, write_config
from megatron_recipe.validation import check_config


@dataclass(frozen=True)
class Scene:
    """Where a message is said: an empty working folder, and what a test may change for the moment."""

    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    lang: str

    def printed(self) -> str:
        """What was printed since the last time, on both streams."""
        said = self.capture.readouterr()
        return said.out + said.err


Saying = Callable[[Scene], str]
SAID: dict[str, Saying] = {}
"""By the name that stands in the page's mark above the message."""


def says(name: str) -> Callable[[Saying], Saying]:
    """Register what says the message of this name."""

    def register(function: Saying) -> Saying:
        assert name not in SAID, name
        SAID[name] = function
        return function

    return register


class Caught:
    """The message of the error inside `refused()`."""

    message = ""


@contextmanager
def refused() -> Iterator[Caught]:
    """Take the RecipeError that the block must raise."""
    caught = Caught()
    with pytest.raises(RecipeError) as error:
        yield caught
    caught.message = str(error.value)


def dataset(name: str, tokens: int = 5_000_000, vocab_size: int = 4096, tokenizer: str = "aa") -> DatasetFacts:
    """A prepared dataset, as far as checks before a start look."""
    split = {"tokens": tokens, "sha256": {"bin": "cc", "idx": "dd"}}
    return DatasetFacts(Path(name), vocab_size, 1, tokenizer, {"train": split, "validation": split})


def checked(
    *overrides: str, recipe: str = "gpt_tiny_cpu", facts: list[DatasetFacts] | None = None, ranks: int = 1
) -> str:
    """What the checks before a start say of these settings."""
    with refused() as caught:
        config = load_config(recipe, overrides)
        check_config(config, facts or [dataset("datasets/demo")], ranks, on_cpu=True)
    return caught.message


def run_folder(name: str, *overrides: str) -> Path:
    """A run folder that has its configuration."""
    folder = Path("runs") / name
    write_config(load_config("gpt_tiny_cpu", overrides), folder / "config.yaml")
    return folder


def checkpoint_folder(**facts: Any) -> Path:
    """A checkpoint of the tiny recipe as far as it says what it is."""
    folder = Path("runs/mine/checkpoints/step_00000500")
    folder.mkdir(parents=True)
    model = load_config("gpt_tiny_cpu").model.model_dump(mode="json")
    marker = {"format": 1, "step": 500, "vocab_size": 4096, "model": model, **facts}
    (folder / "checkpoint.json").write_text(json.dumps(marker))
    return folder


def on_card(recipe: str, card: str, *overrides: str) -> str:
    from megatron_recipe.plan.hardware import profile
    from megatron_recipe.plan.resolve import resolve

    with refused() as caught:
        resolve(load_config(recipe, overrides), 32_000, profile(card), 1, recipe)
    return caught.message
