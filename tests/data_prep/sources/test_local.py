"""What can be read is read whole; what cannot is one message that names the place and the remedy."""

import gzip
import json
import lzma

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from data_prep.recipe import Source
from data_prep.sources.local import LocalText, cut, find_files
from megatron_recipe.errors import DataError

RECORDS = [{"text": "one\nline", "id": "a", "license": "MIT", "n": 1}, {"text": "二行", "metadata": {"source": "书"}}]
JSONL = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()


def read(*paths, text_field="text"):
    sources = tuple(Source(path=path, text_field=text_field) for path in paths)
    return list(LocalText(find_files(sources)).run())


PACKERS = {".jsonl": lambda b: b, ".jsonl.gz": gzip.compress, ".jsonl.xz": lzma.compress}
PACKERS[".jsonl.zst"] = lambda b: zstandard.compress(b[:10]) + zstandard.compress(b[10:])  # two frames


@pytest.mark.parametrize("suffix", PACKERS)
def test_jsonl_in_every_packing(tmp_path, suffix):
    path = tmp_path / f"books{suffix}"
    path.write_bytes(PACKERS[suffix](JSONL))
    one, two = read(path)
    assert (one.text, one.id) == ("one\nline", "a")
    assert one.metadata == {"source": "books", "license": "MIT"}
    assert (two.text, two.id) == ("二行", f"{path}:2")
    assert two.metadata == {"source": "书", "license": "unknown"}


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.xz", ".jsonl.zst"])
def test_a_truncated_packed_file_is_an_error_and_not_a_short_corpus(tmp_path, suffix):
    path = tmp_path / f"books{suffix}"
    path.write_bytes(PACKERS[suffix](JSONL * 50)[:-9])
    with pytest.raises(DataError, match=r"books.*truncated or damaged .*fetch it again"):
        read(path)


def test_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "books.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"content": ["一", None, "three"], "id": ["a", "b", "c"]}), path)
    assert [(d.text, d.id) for d in read(path, text_field="content")] == [("一", "a"), ("", "b"), ("three", "c")]
    with pytest.raises(DataError, match=r"has no 'text', only 'content', 'id'; choose with --text-field"):
        read(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole parquet file"):
        read(path, text_field="content")


def test_a_folder_is_searched_in_a_fixed_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.txt").write_text("two", encoding="utf-8")
    (tmp_path / "1.jsonl").write_bytes(JSONL)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert [d.text for d in read(tmp_path)] == ["one\nline", "二行", "two"]
    assert {d.metadata["source"] for d in read(tmp_path)} == {tmp_path.name, "书"}


def test_text_that_is_not_utf8_names_the_byte_and_the_remedy(tmp_path):
    path = tmp_path / "old.txt"
    path.write_bytes(b"plain " + "中文".encode("gb18030"))
    with pytest.raises(DataError, match=r"old.txt: not UTF-8 at byte 6 \(0xd6\).*iconv -f gb18030 -t utf-8 old.txt"):
        read(path)
    path.write_bytes("中文".encode("utf-16"))
    with pytest.raises(DataError, match=r"old.txt: not UTF-8 at byte 0 \(0xff\).*iconv -f utf-16 -t utf-8 old.txt"):
        read(path)
    path = tmp_path / "old.jsonl"
    path.write_bytes(JSONL + '{"text": "中文"}\n'.encode("gb18030"))
    with pytest.raises(DataError, match=rf"old.jsonl: not UTF-8 at byte {len(JSONL) + 10} "):
        read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "cut', r"bad.jsonl:3: not JSON \(Unterminated string.* at column 10\)"),
        ("[1, 2]", "bad.jsonl:3: a line must hold one JSON object, not list"),
        ('{"text": 5}', "bad.jsonl:3: 'text' holds int, not text"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(JSONL + line.encode() + b"\n" + JSONL)
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_missing_field_lists_the_fields_there_are(tmp_path):
    path = tmp_path / "web.jsonl"
    path.write_text('{"content": "x", "url": "y"}\n', encoding="utf-8")
    with pytest.raises(
        DataError,
        match=r"web.jsonl:1: has no 'text', only 'content', 'url'; choose with --text-field",
    ):
        read(path)
    assert read(path, text_field="content")[0].text == "x"


def test_surrogates_that_json_can_spell(tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"text": "a\\ud800b"}\n{"text": "a\\ud83d\\ude00b"}\n{"text": "a\\u0000b"}\n', encoding="utf-8")
    assert [d.text for d in read(path)] == ["a\ufffdb", "a😀b", "a\0b"]


def test_byte_order_marks_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhello")
    (tmp_path / "b.jsonl").write_bytes(b"\xef\xbb\xbf" + JSONL)
    assert [d.text for d in read(tmp_path / "a.txt", tmp_path / "b.jsonl")] == ["hello", "one\nline", "二行"]


def test_sources_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="there is no such file or folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "book.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match=r"book.pdf: cannot read .pdf; give \*.jsonl"):
        read(tmp_path / "book.pdf")
    with pytest.raises(DataError, match=r"holds no text files \(found .pdf\)"):
        read(tmp_path)


@given(st.text(alphabet="a \n", max_size=400), st.integers(1, 50))
def test_cut_loses_nothing(text, characters):
    parts = list(cut(text, characters))
    assert "".join(parts) == text
    assert all(len(part) >= characters for part in parts[:-1])


def test_cut_prefers_paragraphs():
    paragraphs = [f"{'word ' * 30}\n\n" for _ in range(20)]
    assert all(part.endswith("\n\n") for part in cut("".join(paragraphs), 400))
