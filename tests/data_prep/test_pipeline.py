"""The whole way on small corpora: counts add up, settings matter, kills lose nothing, bad input is one message."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import zstandard
from made_texts import make_document
from small_recipe import changed, contents, make_recipe, write_corpus

from data_prep.dedup.shingles import jaccard, shingle_set
from data_prep.manifest import read_manifest
from data_prep.megatron_writer import read_tokens
from data_prep.pipeline import clean, collect, prepare, write_dataset
from data_prep.recipe import load_recipe
from data_prep.tokenizers.hugging_face import train_byte_level_bpe, train_wordpiece
from data_prep.tokenizers.load import load_reference
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from data_prep.verify import verify
from megatron_recipe.errors import ConfigError, DataError


def test_counts_add_up_through_all_stages(recipe, results):
    collected, cleaned, deduplicated, trained, written = results
    assert (collected.documents_in, collected.dropped) == (164, {"empty": 1})
    assert cleaned.dropped == {"too_short": 1, "many_digits": 1}
    assert deduplicated.dropped == {"exact_duplicate": 10, "near_duplicate": 1}
    assert trained.documents_out == written.documents_out == 150
    for before, after in itertools.pairwise(results):
        assert after.documents_in == before.documents_out
    counts = read_manifest(recipe.out)["counts"]
    assert counts == {"read": 164, "kept": 150, "dropped": {"empty": 1, **cleaned.dropped, **deduplicated.dropped}}
    assert "150 documents" in verify(recipe.out)


def test_the_result_does_not_depend_on_the_number_of_processes(recipe, results, tmp_path):
    alone = changed(recipe, out=tmp_path / "out", work=tmp_path / "work", executor__workers=1)
    prepare(alone)
    assert contents(alone.out) == contents(recipe.out)


def test_every_stage_is_done_once(recipe, results):
    assert all(result.cached for result in prepare(recipe))


def test_a_dataset_that_was_deleted_is_written_again(recipe, results, tmp_path):
    before = contents(recipe.out)
    recipe.out.rename(tmp_path / "moved")
    assert not write_dataset(recipe).cached
    assert contents(recipe.out) == before


def test_the_bin_holds_the_held_out_text_with_an_end_of_document_each(recipe, results):
    tokenizer = SentencePieceTokenizer(recipe.out / "tokenizer" / "tokenizer.model")
    index, tokens = read_tokens(recipe.out / "validation")
    texts = [json.loads(line)["text"] for line in (recipe.out / "validation.jsonl").open(encoding="utf-8")]
    assert tokens.tolist() == [i for text in texts for i in [*tokenizer.encode(text), tokenizer.eod_id]]
    assert len(index.lengths) == len(texts)


def test_no_held_out_document_has_a_near_copy_in_training(recipe, results):
    lines = [line for path in (recipe.work / "3_deduplicate" / "documents").iterdir() for line in path.open("rb")]
    texts = {record["id"]: record["text"] for record in map(json.loads, lines)}
    held_out = {json.loads(line)["id"] for line in (recipe.out / "validation.jsonl").open(encoding="utf-8")}
    assert 0 < len(held_out) < len(texts)
    training = [shingle_set(text) for i, text in texts.items() if i not in held_out]
    for i in held_out:
        assert max(jaccard(shingle_set(texts[i]), other) for other in training) < recipe.deduplicate.near_threshold


def test_removed_documents_are_listed(recipe, results):
    with zstandard.open(recipe.work / "3_deduplicate" / "removed.jsonl.zst", "rt", encoding="utf-8") as file:
        removed = [json.loads(line) for line in file]
    assert len(removed) == 11
    assert {r["reason"] for r in removed} == {"exact_duplicate", "near_duplicate"}
    assert all(r["similarity"] >= 0.8 for r in removed)


def test_a_changed_setting_reruns_its_stage_and_those_after_it(recipe, results, tmp_path):
    other = changed(recipe, out=tmp_path / "out", deduplicate__near_threshold=1.0)
    try:
        again = prepare(other)
        assert [r.cached for r in again] == [True, True, False, False, False]
        assert again[2].dropped == {"exact_duplicate": 10}
    finally:
        prepare(recipe)


def test_a_stage_does_not_run_on_results_of_other_settings(recipe, results):
    with pytest.raises(DataError, match="'collect' has not run with these settings; run it first"):
        clean(changed(recipe, max_bad_lines=3))


def test_a_folder_that_is_no_dataset_is_not_replaced(recipe, results, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="exists and is not a dataset"):
        write_dataset(changed(recipe, out=tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def run_small(folder: Path, name: str, content: bytes, settings: dict):
    (folder / name).write_bytes(content)
    return prepare(make_recipe(folder / name, folder, **{"executor.workers": 1, **settings}))


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("empty.txt", b"", {}, "there is no text in it; the corpus is empty"),
        ("empty.jsonl", b"\n\n", {}, "there is no text in it; the corpus is empty"),
        ("blank.jsonl", b'{"text": ""}\n', {}, "there is no text in it"),
        ("tiny.txt", b"too short", {}, "clean left no document .1 too short.; make the cleaning blocks"),
        (
            "one.txt",
            make_document(1).encode(),
            {"tokenizer.vocab_size": 5000},
            "training text supports|no text to train",
        ),
        ("gb.txt", "中文".encode("gb18030"), {}, "not UTF-8 at byte 0"),
    ],
)
def test_bad_input_is_one_message_and_no_dataset(tmp_path, name, content, settings, message):
    with pytest.raises(DataError, match=message):
        run_small(tmp_path, name, content, settings)
    assert not (tmp_path / "out").exists()


def write_with_bad_lines(path: Path) -> Path:
    lines = [json.dumps({"text": make_document(seed)}).encode() for seed in range(120)]
    lines[3:3] = [b"{", b"[1, 2]"]
    lines[50:50] = [b'{"text": "\xd6\xd0"}', b'{"text": 5}']
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_bad_lines_are_dropped_counted_and_shown_up_to_the_limit(tmp_path):
    corpus = write_with_bad_lines(tmp_path / "c.jsonl")
    result = collect(make_recipe(corpus, tmp_path, max_bad_lines=4))
    assert (result.documents_in, result.documents_out, result.dropped) == (124, 120, {"bad_line": 4})
    dropped = tmp_path / "work" / "1_collect" / "dropped" / "BadLineFilter" / "00000.jsonl"
    shown = [json.loads(line)["metadata"]["bad_line"] for line in dropped.open(encoding="utf-8")]
    for place, message in zip((4, 5), shown, strict=False):
        assert message.startswith(f"{corpus}:{place}: ")
    assert "not UTF-8" in shown[2] and "holds int, not text" in shown[3]


def test_one_bad_line_more_than_the_limit_ends_the_run(tmp_path):
    corpus = write_with_bad_lines(tmp_path / "c.jsonl")
    with pytest.raises(DataError, match=r"holds int, not text.*; 3 bad lines before it; mend it, or .*max_bad_lines"):
        collect(make_recipe(corpus, tmp_path, max_bad_lines=3))
    assert not (tmp_path / "work" / "1_collect").exists()


def test_bad_lines_of_several_files_are_counted_together(tmp_path):
    (tmp_path / "corpus").mkdir()
    for name in ("a", "b"):
        write_with_bad_lines(tmp_path / "corpus" / f"{name}.jsonl")
    with pytest.raises(DataError, match=r"8 bad lines, max_bad_lines=6: .*a\.jsonl:4: not JSON"):
        collect(make_recipe(tmp_path / "corpus", tmp_path, max_bad_lines=6))


def test_a_shuffled_dataset_has_the_same_documents_in_another_order(recipe, results, tmp_path):
    def documents(out: Path, split: str) -> list[bytes]:
        index, tokens = read_tokens(out / split)
        return [part.tobytes() for part in np.split(tokens, np.cumsum(index.lengths)[:-1])]

    shuffled = changed(recipe, out=tmp_path / "out", dataset__shuffle=True)
    try:
        prepare(shuffled)
        assert "150 documents" in verify(shuffled.out)
        plain, mixed = documents(recipe.out, "train"), documents(shuffled.out, "train")
        assert sorted(plain) == sorted(mixed) and plain != mixed
        assert documents(recipe.out, "validation") == documents(shuffled.out, "validation")
    finally:
        prepare(recipe)


def test_an_existing_tokenizer_is_taken_as_it_is(recipe, results, tmp_path):
    given = tmp_path / "mine.model"
    given.write_bytes((recipe.out / "tokenizer" / "tokenizer.model").read_bytes())
    other = changed(recipe, out=tmp_path / "out", work=tmp_path / "work", tokenizer__file=given)
    assert "took" in prepare(other)[3].summary
    assert contents(other.out) == contents(recipe.out)


def test_a_byte_level_tokenizer_gives_its_ids(recipe, results, tmp_path):
    given = tmp_path / "tokenizer.json"
    texts = [make_document(seed, language) for seed in range(60) for language in ("en", "zh")]
    given.write_bytes(train_byte_level_bpe(texts, 500))
    other = changed(recipe, out=tmp_path / "out", work=tmp_path / "work", tokenizer__file=given)
    prepare(other)
    tokenizer = load_reference(other.out / "tokenizer" / "tokenizer.json")
    _, tokens = read_tokens(other.out / "validation")
    texts = [json.loads(line)["text"] for line in (other.out / "validation.jsonl").open(encoding="utf-8")]
    assert tokens.tolist() == [i for text in texts for i in [*tokenizer.encode(text), tokenizer.eod_id]]
    assert "150 documents" in verify(other.out)


def test_a_tokenizer_that_loses_text_is_not_taken(tmp_path):
    given = tmp_path / "tokenizer.json"
    given.write_bytes(train_wordpiece([make_document(seed, "en") for seed in range(60)], 300))
    recipe = make_recipe(write_corpus(tmp_path / "corpus"), tmp_path, **{"tokenizer.file": given})
    with pytest.raises(DataError, match=r"tokenizer.json: the tokenizer changes text .* comes back as"):
        prepare(recipe)


def test_documents_that_hold_evaluation_items_are_dropped_and_listed(tmp_path):
    items = [{"question": make_document(1000 + i, "zh" if i % 2 else "en"), "answer": "B"} for i in range(6)]
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    texts = [make_document(i, "zh" if i % 2 else "en") for i in range(120)]
    texts[7] += items[2]["question"]
    texts[8] = items[3]["question"] + texts[8]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text, "id": str(i)}) + "\n" for i, text in enumerate(texts)))
    recipe = make_recipe(corpus, tmp_path, decontaminate={"against": [str(tmp_path / "quiz.jsonl")]})
    results = prepare(recipe)
    assert (results[3].name, results[3].dropped) == ("decontaminate", {"contaminated": 2})
    folder = tmp_path / "work" / "4_decontaminate"
    with zstandard.open(folder / "contaminated.jsonl.zst", "rt", encoding="utf-8") as file:
        hits = [json.loads(line) for line in file]
    assert {(hit["id"], hit["item"], hit["dropped"]) for hit in hits} == {("7", 2, True), ("8", 3, True)}
    assert json.loads((folder / "evaluation_sets.json").read_text())["sets"][0]["items"] == 6
    assert read_manifest(recipe.out)["counts"]["dropped"] == {"contaminated": 2}


def test_sources_keep_their_names_categories_and_licences(tmp_path):
    sources = []
    for name, category in (("a", "news"), ("b", "code")):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"body": make_document(i, name)}) + "\n" for i in range(40)))
        sources.append(
            {"path": path, "name": name.upper(), "category": category, "license": "MIT", "text_field": "body"}
        )
    prepare(make_recipe(tmp_path, tmp_path, sources=sources))
    found = read_manifest(tmp_path / "out")["sources"]
    assert {(s["name"], s["category"], s["license"]) for s in found} == {("A", "news", "MIT"), ("B", "code", "MIT")}


def test_an_error_in_a_worker_process_is_the_same_error(tmp_path, capfd):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n', encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.jsonl:2: not JSON"):
        collect(make_recipe(corpus, tmp_path))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tokenizer.vocab_size", 100),
        ("dataset.validation_share", 0.0),
        ("deduplicate.near_threshold", 1.5),
        ("executor.workers", -1),
        ("max_bad_lines", -1),
        ("executor.kind", "'cloud'"),
    ],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"documents: {re.escape(field)}={value}: input should be"):
        load_recipe("documents", overrides=(f"{field}={value}",))


def test_an_unknown_setting_is_told_the_known_ones():
    with pytest.raises(ConfigError, match=r"deduplicate\.treshold is not known.*deduplicate has: near_threshold"):
        load_recipe("documents", overrides=("deduplicate.treshold=0.9",))
    with pytest.raises(ConfigError, match=r"unknown recipe 'wep'.*known: .*documents"):
        load_recipe("wep")
