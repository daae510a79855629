"""Passages and contaminated documents leave alike whatever the number of processes, and every document is counted."""

import json

import pytest
import zstandard
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from made_texts import make_document

from data_prep.decontaminate.decontaminate import Decontaminate
from data_prep.decontaminate.index import EvaluationSet, build_index
from data_prep.dedup.passage_removal import RemovePassages, list_repeated_passages
from data_prep.dedup.passages import PassageHashes, find_repeated_passages
from data_prep.dedup.removal import gather
from data_prep.executor import run_blocks
from data_prep.recipe import ExecutorSettings

NOTICE = "本站所有文章均为原创，未经许可不得转载，违者必究；联系我们请发邮件至编辑部信箱。"
QUESTION = make_document(99, "zh", 4)
TASKS = 4


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "documents").mkdir()
    for rank in range(TASKS):
        texts = [make_document(rank * 10 + n, "zh", 12) + f"\n{NOTICE}" for n in range(10)]
        texts += [NOTICE, f"{make_document(500 + rank)}\n{QUESTION}"]
        lines = [json.dumps({"text": text, "id": f"{rank}/{n}"}) + "\n" for n, text in enumerate(texts)]
        (folder / "documents" / f"{rank:05d}.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "quiz.jsonl").write_text(json.dumps({"question": QUESTION}), encoding="utf-8")
    return folder


def run(sources, work, workers):
    """Both filters in one pass; everything that is written but datatrove's logs, and the counts."""
    made = ("hashes", "decisions", "counts", "listing", "index")
    hashes, decisions, counts, listing, index = (work / name for name in made)
    for name in made:
        (work / name).mkdir()
    settings = ExecutorSettings(workers=workers)
    documents = sources / "documents"

    def reader():
        return JsonlReader(str(documents), compression=None, glob_pattern="*.jsonl", add_file_path=False)

    run_blocks("hashes", [reader(), PassageHashes(hashes)], work / "run" / "hashes", TASKS, settings)
    find_repeated_passages(hashes, decisions)
    build_index([EvaluationSet(sources / "quiz.jsonl")], index)
    filters = [RemovePassages(decisions, counts), Decontaminate(index, listing)]
    for block in filters:
        name = type(block).__name__
        block.exclusion_writer = JsonlWriter(str(work / "dropped" / name), "${rank}.jsonl", compression=None)
    writer = JsonlWriter(str(work / "documents"), "${rank}.jsonl", compression=None)
    total = run_blocks("filters", [reader(), *filters, writer], work / "run" / "filters", TASKS, settings)
    list_repeated_passages(documents, decisions, counts, work / "passages.jsonl.zst")
    gather(listing, work / "contaminated.jsonl.zst")
    files = [path for path in sorted(work.rglob("*")) if path.is_file() and "run" not in path.relative_to(work).parts]
    return {path.relative_to(work).as_posix(): path.read_bytes() for path in files}, total


def test_one_and_two_processes_write_the_same(sources, tmp_path):
    files = []
    for workers in (1, 2):
        work = tmp_path / str(workers)
        work.mkdir()
        written, counts = run(sources, work, workers)
        files.append(written)
        assert counts.dropped == {"only_repeated_passages": TASKS, "contaminated": TASKS}
        assert counts.read == counts.kept + sum(counts.dropped.values()) == 12 * TASKS
    assert files[0] == files[1]
    (passage,) = map(json.loads, unpacked(files[0]["passages.jsonl.zst"]).splitlines())
    assert (passage["text"], passage["documents"], passage["first_id"]) == (NOTICE, 11 * TASKS, "0/0")
    contaminated = [json.loads(line) for line in unpacked(files[0]["contaminated.jsonl.zst"]).splitlines()]
    assert [record["id"] for record in contaminated] == [f"{rank}/11" for rank in range(TASKS)]
    kept = b"".join(content for name, content in files[0].items() if name.startswith("documents/")).decode()
    assert kept.count(NOTICE) == 1
    assert QUESTION not in kept


def unpacked(content):
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)
