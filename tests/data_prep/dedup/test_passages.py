"""Repeated passages leave all documents but their first; all of it recomputed with plain strings."""

import json
import random
from collections import defaultdict

import numpy as np
import pytest
import zstandard
from datatrove.data import Document
from datatrove.pipeline.writers import JsonlWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from made_texts import make_document

from data_prep.dedup import passages
from data_prep.dedup.passage_removal import RemovePassages, list_repeated_passages
from data_prep.dedup.passages import MIN_BYTES, PassageHashes, distinct_passages, find_repeated_passages, passage_hashes
from data_prep.dedup.shingles import normalised

LICENCE = "Permission is granted to copy, distribute and modify this document,\nprovided that this notice\nstays."
NOTICE = "如果您发现本文档与原始文件有任何不同或者有翻译问题，请联系该文件的译者，谢谢。"
HEADING = "参见"
MAX_DOCUMENTS = 3


def made_corpus(seed=1):
    """Three tasks' documents: texts of their own, some with a licence, a notice, a heading, or nothing else."""
    generator = random.Random(seed)
    texts = []
    for number in range(120):
        parts = make_document(number, "zh" if number % 2 else "en", 9).split("\n")
        for passage, share in ((LICENCE, 0.2), (NOTICE, 0.2), (NOTICE.replace("，", ","), 0.1), (HEADING, 0.5)):
            if generator.random() < share:
                parts.insert(generator.randrange(len(parts) + 1), passage)
        texts.append(generator.choice(["\n", "\n\n"]).join(parts))
    texts += [f"{NOTICE}\n\n{LICENCE.upper()}", "", "字", "\ud800" * 30, "\n\n\n", f"{NOTICE}\n{NOTICE}\n短"]
    generator.shuffle(texts)
    return [texts[:50], texts[50:51], [], texts[51:]]


def documents_of(task, rank):
    return [Document(text=text, id=f"{rank}/{number}") for number, text in enumerate(task)]


def run(tmp_path, tasks, max_documents=MAX_DOCUMENTS, order=None):
    """All three steps; the documents that stay by task, and the block of each task."""
    for name in ("documents", "hashes", "decisions", "counts"):
        (tmp_path / name).mkdir()
    for rank in order or range(len(tasks)):
        documents = documents_of(tasks[rank], rank)
        lines = [json.dumps({"text": d.text, "id": d.id}) + "\n" for d in documents]
        (tmp_path / "documents" / f"{rank:05d}.jsonl").write_text("".join(lines), encoding="utf-8")
        assert list(PassageHashes(tmp_path / "hashes").run(iter(documents), rank, len(tasks))) == documents
    find_repeated_passages(tmp_path / "hashes", tmp_path / "decisions", max_documents)
    kept, blocks = [], []
    for rank, task in enumerate(tasks):
        dropped = JsonlWriter(str(tmp_path / "dropped"), "${rank}.jsonl", compression=None)
        blocks.append(RemovePassages(tmp_path / "decisions", tmp_path / "counts", exclusion_writer=dropped))
        kept.append([(d.id, d.text) for d in blocks[-1].run(iter(documents_of(task, rank)), rank, len(tasks))])
    return kept, blocks


def plain_passages(text):
    """Passages of the text with what of it they stand for, by plain string methods."""
    found = []
    for paragraph in text.split("\n\n"):
        found += [paragraph] if "\n" in paragraph else []
        found += paragraph.split("\n")
    return [p for p in found if len(normalised(p).encode("utf-8", "surrogatepass")) >= MIN_BYTES]


def expected(tasks, max_documents=MAX_DOCUMENTS, min_remaining_bytes=200):
    """What should stay, and how often each passage should be removed."""
    holders = defaultdict(list)
    for rank, task in enumerate(tasks):
        for number, text in enumerate(task):
            for passage in {normalised(p) for p in plain_passages(text)}:
                holders[passage].append((rank, number))
    first = {passage: min(h) for passage, h in holders.items() if len(h) > max_documents}
    removed = defaultdict(int)
    kept = []
    for rank, task in enumerate(tasks):
        kept.append([])
        for number, text in enumerate(task):
            gone = {passage for passage, at in first.items() if at != (rank, number)}
            paragraphs = []
            for paragraph in text.split("\n\n"):
                if "\n" in paragraph and normalised(paragraph) in gone:
                    removed[normalised(paragraph)] += 1
                    continue
                lines = paragraph.split("\n")
                for line in lines:
                    removed[normalised(line)] += normalised(line) in gone
                stay = [line for line in lines if normalised(line) not in gone]
                paragraphs += ["\n".join(stay)] if stay else []
            rest = "\n\n".join(paragraphs)
            if rest == text or len(rest.encode("utf-8", "surrogatepass")) >= min_remaining_bytes:
                kept[-1].append((f"{rank}/{number}", rest))
    return kept, {passage: count for passage, count in removed.items() if count}, holders


def total(blocks, name):
    return sum(int(block.stats[name].total) for block in blocks if name in block.stats.stats)


def test_what_stays_is_what_plain_strings_say(tmp_path):
    tasks = made_corpus()
    kept, blocks = run(tmp_path, tasks)
    want, removed, _ = expected(tasks)
    assert kept == want
    assert total(blocks, "passages_removed") == sum(removed.values()) > 40
    assert total(blocks, "dropped_only_repeated_passages") == sum(map(len, tasks)) - sum(map(len, kept)) >= 1


def test_dropped_documents_are_written_with_the_text_they_had(tmp_path):
    tasks = made_corpus()
    kept, _ = run(tmp_path, tasks)
    stayed = {name for task in kept for name, _ in task}
    gone = {d.id: d.text for rank, task in enumerate(tasks) for d in documents_of(task, rank) if d.id not in stayed}
    lines = [line for path in (tmp_path / "dropped").iterdir() for line in path.open(encoding="utf-8")]
    records = {record["id"]: record for record in map(json.loads, lines)}
    assert {name: record["text"] for name, record in records.items()} == gone
    assert {record["metadata"]["filter_reason"] for record in records.values()} == {"only_repeated_passages"}


def test_the_first_document_keeps_its_passage_and_short_lines_stay(tmp_path):
    tasks = [[f"{NOTICE}\n{HEADING}\n{make_document(n, 'zh', 20)}" for n in range(6)]]
    kept, _ = run(tmp_path, tasks)
    texts = [text for _, text in kept[0]]
    assert [NOTICE in text for text in texts] == [True] + [False] * 5
    assert all(HEADING in text for text in texts)


def test_repetition_in_one_document_is_not_counted(tmp_path):
    tasks = [["\n".join([NOTICE] * 20)] * MAX_DOCUMENTS]
    kept, blocks = run(tmp_path, tasks)
    assert [text for _, text in kept[0]] == tasks[0]
    assert total(blocks, "passages_removed") == 0


def test_the_listing_is_that_of_plain_counts(tmp_path):
    tasks = made_corpus()
    _, blocks = run(tmp_path, tasks)
    output = tmp_path / "passages.jsonl.zst"
    list_repeated_passages(tmp_path / "documents", tmp_path / "decisions", tmp_path / "counts", output)
    with output.open("rb") as file:
        listed = [json.loads(line) for line in zstandard.ZstdDecompressor().stream_reader(file).read().splitlines()]
    _, removed, holders = expected(tasks)
    assert {normalised(r["text"]): r["removed"] for r in listed} == removed
    assert [r["removed"] for r in listed] == sorted(removed.values(), reverse=True)
    for record in listed:
        held = holders[normalised(record["text"])]
        assert record["documents"] == len(held)
        assert record["first_id"] == "{}/{}".format(*min(held))
        assert record["bytes"] == record["removed"] * len(record["text"].encode())
    assert total(blocks, "passage_bytes_removed") >= sum(record["bytes"] for record in listed) * 0.9


@pytest.mark.parametrize(("run_entries", "part_entries"), [(1, 100), (100, 10), (1 << 20, 1 << 20)])
def test_runs_and_parts_of_any_size_and_tasks_in_any_order_decide_alike(
    tmp_path, monkeypatch, run_entries, part_entries
):
    tasks = made_corpus(2)
    whole, small = tmp_path / "whole", tmp_path / "small"
    whole.mkdir(), small.mkdir()
    run(whole, tasks)
    monkeypatch.setattr(passages, "RUN_ENTRIES", run_entries)
    monkeypatch.setattr(passages, "PART_ENTRIES", part_entries)
    run(small, tasks, order=[3, 1, 0, 2])
    for name in ("decisions/passages.npy", "counts/00000.npy", "counts/00003.npy"):
        assert (whole / name).read_bytes() == (small / name).read_bytes()


def test_a_task_that_is_run_again_after_a_kill_writes_the_same(tmp_path):
    tasks = made_corpus()
    run(tmp_path, tasks)
    before = {path.name: path.read_bytes() for path in (tmp_path / "hashes").iterdir()}
    (tmp_path / "hashes" / "00003-00000.npy").write_bytes(b"half")
    for rank in (0, 3):
        list(PassageHashes(tmp_path / "hashes").run(iter(documents_of(tasks[rank], rank)), rank, 4))
    assert {path.name: path.read_bytes() for path in (tmp_path / "hashes").iterdir()} == before


def test_nothing_at_all(tmp_path):
    kept, _ = run(tmp_path, [[]])
    assert kept == [[]]
    assert np.load(tmp_path / "decisions" / "passages.npy").shape == (3, 0)
    list_repeated_passages(tmp_path / "documents", tmp_path / "decisions", tmp_path / "counts", tmp_path / "p.zst")


@settings(deadline=None)
@given(text=st.text(alphabet="aA中，\n\n \u2028\u0301\x85ﬁ\ud800", max_size=80) | st.text(max_size=40))
def test_any_text_is_its_paragraphs_and_lines(text):
    assert "\n\n".join("\n".join(lines) for lines, _, _ in passage_hashes(text)) == text
    assert len(distinct_passages(text)) == len({normalised(p) for p in plain_passages(text)})


def test_sixty_latin_letters_are_as_long_as_twenty_chinese_characters():
    for text, is_passage in (("a" * 60, True), ("a" * 59, False), ("中" * 20, True), ("中" * 19, False)):
        assert bool(distinct_passages(text)) == is_passage
