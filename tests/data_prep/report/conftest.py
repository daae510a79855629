"""A small corpus that went through the pipeline, once for all tests here."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from small_recipe import make_recipe, write_corpus

from data_prep.pipeline import prepare
from data_prep.recipe import DataRecipe

SCRIPT = "<script>alert('seen')</script>"


@dataclass(frozen=True)
class Prepared:
    recipe: DataRecipe
    corpus: Path

    @property
    def stages(self) -> dict[str, Path]:
        return {folder.name.partition("_")[2]: folder for folder in sorted(self.recipe.work.glob("[0-9]_*"))}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("report")
    corpus = write_corpus(folder / "corpus")
    noisy = " ".join(f"{word} {SCRIPT} met Ann under ann.lee@mail-{word}.com." for word in ("Tom", "Sue", "Kim"))
    (corpus / "notes.txt").write_text(f"{noisy}\n\x1b[31mred\u202e text of the notes, which is long enough.\n")
    recipe = make_recipe(corpus, folder)
    prepare(recipe)
    return Prepared(recipe, corpus)
