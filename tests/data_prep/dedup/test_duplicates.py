"""Exact copies are all found, near ones verified and found, and nothing is removed for a document that is not kept."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import zstandard
from datatrove.data import Document
from datatrove.pipeline.readers import JsonlReader
from made_texts import make_document

from data_prep.dedup.arrays import save_array
from data_prep.dedup.corpus import Corpus
from data_prep.dedup.exact import ExactSignatures, find_exact_duplicates
from data_prep.dedup.near import MinHashBands, banding_for, candidate_pairs, find_near_duplicates
from data_prep.dedup.removal import Removals, RemoveDuplicates, gather
from data_prep.dedup.shingles import jaccard, shingle_set

THRESHOLD = 0.8


def changed(text, words):
    """The text with its first `words` words replaced, or in Chinese so many characters."""
    if " " in text:
        parts = text.split(" ")
        return " ".join([f"new{i}" for i in range(words)] + parts[words:])
    return "改" * words + text[words:]


def write_shards(folder, texts, per_shard=40):
    folder.mkdir()
    for rank, start in enumerate(range(0, len(texts), per_shard)):
        with (folder / f"{rank:05d}.jsonl").open("w", encoding="utf-8") as file:
            for number, text in enumerate(texts[start : start + per_shard], start):
                file.write(json.dumps({"text": text, "id": f"d{number}"}, ensure_ascii=False) + "\n")
    (folder / f"{rank + 1:05d}.jsonl").touch()  # a task that kept nothing


def deduplicate(tmp_path, texts):
    """Run both finders over shards of the texts; the removals and the corpus."""
    write_shards(tmp_path / "documents", texts)
    for name in ("exact", "bands"):
        (tmp_path / name).mkdir()
    reader = JsonlReader(str(tmp_path / "documents"), compression=None, add_file_path=False)
    tasks = len(list((tmp_path / "documents").iterdir()))
    for rank in range(tasks):
        documents = reader.run(None, rank, tasks)
        documents = ExactSignatures(tmp_path / "exact").run(documents, rank, tasks)
        assert all(MinHashBands(tmp_path / "bands", banding_for(THRESHOLD)).run(documents, rank, tasks))
    corpus = Corpus(tmp_path / "documents")
    removals = Removals.none(len(corpus))
    find_exact_duplicates(tmp_path / "exact", removals)
    list(find_near_duplicates(tmp_path / "bands", corpus, THRESHOLD, removals))
    removals.follow()
    return removals, corpus


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """200 documents of their own, then copies of some: equal ones, near ones, and ones that are only related."""
    originals = [make_document(seed, "zh" if seed % 2 else "en", 12) for seed in range(200)]
    equal = [f"  {text.upper()}\n" for text in originals[:20]]
    near = [changed(text, 2) for text in originals[20:120]]
    related = [changed(text, len(text.split(" ") if " " in text else text) // 2) for text in originals[120:160]]
    texts = [*originals, *equal, *near, *related, *equal[:5]]
    return texts, *deduplicate(tmp_path_factory.mktemp("planted"), texts)


def test_all_exact_copies_are_found_and_nothing_else(planted):
    _, removals, _ = planted
    assert np.flatnonzero(removals.reason == 1).tolist() == [*range(200, 220), *range(360, 365)]
    assert removals.matched[200:220].tolist() == list(range(20))
    assert removals.matched[360:365].tolist() == list(range(5))  # the first of three equal ones stays
    assert (removals.similarity[200:220] == 1).all()


def test_near_copies_are_found_and_related_documents_stay(planted):
    texts, removals, _ = planted
    sets = [shingle_set(text) for text in texts]
    similarity = np.array([jaccard(sets[20 + i], sets[220 + i]) for i in range(100)])
    assert (similarity >= 0.9).sum() > 50
    removed = removals.reason[220:320] == 2
    assert removed[similarity >= 0.9].mean() >= 0.98
    assert not removed[similarity < THRESHOLD].any()
    assert (removals.matched[320:360] == -1).all()
    assert (removals.matched[:200] == -1).all()  # originals come first and stay


def test_every_removal_is_for_a_kept_document_at_its_true_similarity(planted):
    texts, removals, _ = planted
    for number in np.flatnonzero(removals.matched >= 0):
        matched = int(removals.matched[number])
        assert removals.matched[matched] == -1
        true = jaccard(shingle_set(texts[number]), shingle_set(texts[matched]))
        assert removals.similarity[number] == pytest.approx(true, abs=1e-6)
        assert true >= THRESHOLD


def test_a_chain_of_small_changes_does_not_collapse(tmp_path):
    text = make_document(7, "en", 30)
    words = text.split(" ")
    step = max(len(words) // 14, 1)
    chain = [" ".join([f"other{i}" for i in range(k * step)] + words[k * step :]) for k in range(10)]
    removals, _ = deduplicate(tmp_path, chain)
    assert 0 < len(removals.kept) < len(chain)
    for number in np.flatnonzero(removals.matched >= 0):
        assert jaccard(shingle_set(chain[number]), shingle_set(chain[removals.matched[number]])) >= THRESHOLD


def test_exact_copies_of_a_near_copy_point_to_what_stayed(tmp_path):
    text = make_document(3, "zh", 12)
    near = changed(text, 2)
    removals, _ = deduplicate(tmp_path, [text, near, near])
    assert removals.matched.tolist() == [-1, 0, 0]
    assert removals.similarity[1] == removals.similarity[2] < 1


def test_a_crowded_band_gives_few_pairs(tmp_path):
    keys = np.zeros((1, 1000), dtype=np.uint64)
    np.save(tmp_path / "00000.npy", keys)
    pairs = candidate_pairs(tmp_path, np.arange(1000))
    assert len(pairs) < 4000
    later, earlier = pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)
    assert (later > earlier).all()
    assert set(later.tolist()) == set(range(1, 1000))


def test_the_banding_finds_what_is_above_the_threshold():
    for threshold in (0.5, 0.7, 0.8, 0.9, 1.0):
        banding = banding_for(threshold)
        similarity = min(threshold + 0.05, 1.0)
        assert 1 - (1 - similarity**banding.rows) ** banding.bands >= 0.98
        assert banding.permutations == 128
    assert (banding_for(0.8).bands, banding_for(0.8).rows) == (16, 8)


def test_the_corpus_gives_any_document(planted):
    texts, _, corpus = planted
    assert len(corpus) == len(texts)
    for number in (0, 39, 40, 41, 200, len(texts) - 1):
        document = corpus.document(number)
        assert (document.text, document.id) == (texts[number], f"d{number}")


def test_removing_lists_what_was_removed_for_what(tmp_path):
    texts = [make_document(1), make_document(2), make_document(1)]
    removals, corpus = deduplicate(tmp_path, texts)
    for name in ("decisions", "removed"):
        (tmp_path / name).mkdir()
    removals.save(tmp_path / "decisions")
    corpus.save_index(tmp_path / "decisions")
    block = RemoveDuplicates(tmp_path / "documents", tmp_path / "decisions", tmp_path / "removed")
    documents = [Document(text=text, id=f"d{number}") for number, text in enumerate(texts)]
    assert [document.id for document in block.run(iter(documents))] == ["d0", "d1"]
    (record,) = [json.loads(line) for line in (tmp_path / "removed" / "00000.jsonl").open(encoding="utf-8")]
    assert (record["id"], record["matched_id"], record["reason"]) == ("d2", "d0", "exact_duplicate")
    assert record["similarity"] == 1.0
    assert block.stats["dropped_exact_duplicate"].total == 1


@pytest.mark.parametrize("name", ["removed.jsonl", "removed.jsonl.zst"])
def test_the_lists_of_all_tasks_become_one_in_their_order(tmp_path, name):
    parts = [b'{"id":"b"}\n{"id":"a"}\n', b"", b'{"id":"c","text":"\xe4\xb8\xad"}\n' * 1000]
    for rank, part in enumerate(parts):
        (tmp_path / f"{rank:05d}.jsonl").write_bytes(part)
    output = tmp_path / "out" / name
    for folder in (tmp_path, tmp_path / "nothing"):
        output.parent.mkdir(exist_ok=True)
        gather(folder, output)
        with output.open("rb") as file:
            content = zstandard.ZstdDecompressor().stream_reader(file).read() if ".zst" in name else file.read()
        assert content == (b"".join(parts) if folder == tmp_path else b"")


def test_a_full_disk_keeps_its_error_number(tmp_path):
    for array in (np.arange(6, dtype=np.uint64).reshape(2, 3), np.zeros((16, 0), dtype=np.uint64)):
        save_array(tmp_path / "a.npy", array)
        assert np.array_equal(np.load(tmp_path / "a.npy"), array)
    with pytest.raises(OSError) as caught:
        save_array(Path("/dev/full"), np.zeros(1 << 16))
    assert caught.value.errno == errno.ENOSPC
