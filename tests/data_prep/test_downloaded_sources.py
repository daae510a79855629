"""A folder that `data download` filled is read by what its record says, and only when it is whole."""

import json

import pytest
from made_texts import make_document

from data_prep.download.record import Record
from data_prep.recipe import Source
from data_prep.sources.local import LocalText, find_files
from megatron_recipe.errors import DataError


@pytest.fixture
def folder(tmp_path):
    lines = [json.dumps({"content": make_document(i), "url": f"u{i}", "id": "x"}) + "\n" for i in range(3)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part.jsonl").write_text("".join(lines))
    (tmp_path / "data" / ".other.jsonl.1234.partial").write_text("half")
    (tmp_path / "data" / ".hidden.jsonl").write_text("{")
    return tmp_path


def record(complete: bool) -> Record:
    return Record(
        dataset="refinedweb",
        hub="huggingface",
        endpoint="",
        repo="tiiuae/falcon-refinedweb",
        revision="abc",
        subset="default",
        license="ODC-By-1.0",
        category="web",
        languages=["en"],
        text_field="content",
        id_field="url",
        complete=complete,
    )


def test_the_record_names_columns_licence_and_category(folder):
    record(complete=True).write(folder)
    documents = list(LocalText(find_files((Source(path=folder),))).run())
    assert [document.id for document in documents] == ["u0", "u1", "u2"]
    assert documents[0].text == make_document(0)
    assert documents[0].metadata == {"source": "refinedweb", "category": "web", "license": "ODC-By-1.0"}


def test_what_the_recipe_says_counts_before_the_record(folder):
    record(complete=True).write(folder)
    (file,) = find_files((Source(path=folder, name="mine", category="code", license="MIT", text_field="url"),))
    assert (file.source, file.category, file.license, file.text_field) == ("mine", "code", "MIT", "url")


def test_a_download_that_was_stopped_is_not_read(folder):
    record(complete=False).write(folder)
    with pytest.raises(DataError, match=r"the download of refinedweb was stopped; run it again"):
        find_files((Source(path=folder),))
