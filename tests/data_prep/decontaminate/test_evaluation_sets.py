"""Evaluation sets give the same items from every format that publishers use."""

import gzip
import json

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from data_prep.decontaminate.evaluation_sets import find_sets, read_items
from megatron_recipe.errors import DataError

ROWS = [
    {"question": "为什么天是蓝的？", "choices": {"text": ["散射", "反射"], "label": ["A", "B"]}, "answer": 0},
    {"question": "Why?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answer": 1},
]
TEXTS = [
    (
        ("question", row["question"]),
        *(("choices.text", text) for text in row["choices"]["text"]),
        ("choices.label", "A"),
        ("choices.label", "B"),
    )
    for row in ROWS
]


def write(path, rows):
    table = pyarrow.Table.from_pylist(rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    match "".join(path.suffixes):
        case ".jsonl":
            path.write_bytes(lines)
        case ".jsonl.gz":
            path.write_bytes(gzip.compress(lines))
        case ".json":
            path.write_text(json.dumps({"version": 1, "data": rows}), encoding="utf-8")
        case ".parquet":
            pyarrow.parquet.write_table(table, path)
        case ".arrow":
            with pyarrow.ipc.new_stream(path, table.schema) as writer:
                writer.write_table(table)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.parquet", "a.arrow"])
def test_every_format_gives_the_same_items(tmp_path, name):
    items = list(read_items(write(tmp_path / name, ROWS)))
    assert [item.number for item in items] == [0, 1]
    assert [sorted(item.texts) for item in items] == [sorted(texts) for texts in TEXTS]


def test_arrow_files_are_read_too(tmp_path):
    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    assert len(list(read_items(tmp_path / "a.arrow"))) == 2


def test_paragraphs_of_text_are_items(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\n三\n\n\n", encoding="utf-8")
    assert [item.texts for item in read_items(tmp_path / "a.txt")] == [(("text", "one\ntwo"),), (("text", "三"),)]


def test_fields_may_be_named(tmp_path):
    path = write(tmp_path / "a.jsonl", ROWS)
    assert [item.texts for item in read_items(path, ("question",))] == [texts[:1] for texts in TEXTS]
    assert {name for item in read_items(path, ("choices",)) for name, _ in item.texts} == {
        "choices.text",
        "choices.label",
    }


def test_sets_are_named_by_their_place(tmp_path):
    folder = tmp_path / "sets"
    for name in ("mmlu/test.parquet", "b.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, ROWS)
    (folder / "mmlu" / "dataset_info.json").write_text("{}")
    (folder / "README.md").write_text("about")
    assert [name for name, _ in find_sets(folder)] == ["sets/b.jsonl", "sets/mmlu/test.parquet"]
    assert [name for name, _ in find_sets(folder / "b.jsonl")] == ["b.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"q": 1}\n{"q"', "a.jsonl:2: not JSON"),
        ("a.jsonl", b"\xff\n", "a.jsonl:1: not UTF-8"),
        ("a.json", b"{", "a.json: not JSON"),
        ("a.txt", b"\xff", "a.txt: not UTF-8"),
        ("a.parquet", b"PAR1", "not a whole parquet file"),
        ("a.arrow", b"\xff\xff\xff\xff\x10\x00\x00\x00", "not a whole arrow file"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 99, mtime=0)[:-9], "truncated or damaged"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_items(tmp_path / name))


def test_what_is_no_set_is_an_error(tmp_path):
    (tmp_path / "a.docx").write_bytes(b"")
    for path, message in (
        (tmp_path / "a.docx", "cannot read .docx"),
        (tmp_path / "none", "there is no such"),
        (tmp_path, "holds no evaluation set"),
    ):
        with pytest.raises(DataError, match=message):
            find_sets(path)
