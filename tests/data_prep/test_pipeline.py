"""The whole way on small corpora: counts add up, settings matter, kills lose nothing, bad input is one message."""

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from made_texts import make_document

from data_prep.dedup.shingles import jaccard, shingle_set
from data_prep.manifest import read_manifest
from data_prep.megatron_writer import read_tokens
from data_prep.pipeline import DataRecipe, clean, collect, prepare, write_dataset
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from data_prep.verify import verify
from megatron_recipe.errors import ConfigError, DataError

DATASET_FILES = ("train.bin", "train.idx", "validation.bin", "validation.idx", "validation.jsonl")


def write_corpus(folder: Path, documents: int = 150, shards: int = 3) -> Path:
    """JSONL shards with documents of their own, copies, junk and records without text."""
    folder.mkdir()
    texts = [make_document(seed, "zh" if seed % 2 else "en") for seed in range(documents)]
    texts += [*texts[:10], "short", "12 34 56 78 90 12 34 56 78 90", ""]
    texts.append(texts[20].replace(".", "!", 1))
    for shard in range(shards):
        with gzip.open(folder / f"{shard}.jsonl.gz", "wt", encoding="utf-8") as file:
            for number in range(shard, len(texts), shards):
                file.write(json.dumps({"text": texts[number], "id": f"doc{number}"}, ensure_ascii=False) + "\n")
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    corpus = write_corpus(folder / "corpus")
    return DataRecipe((corpus,), folder / "out", folder / "work", vocab_size=700, workers=2)


@pytest.fixture(scope="module")
def results(recipe):
    return prepare(recipe)


def contents(out: Path) -> dict[str, bytes]:
    files = {name: (out / name).read_bytes() for name in DATASET_FILES}
    return files | {"tokenizer": (out / "tokenizer" / "tokenizer.model").read_bytes()}


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
    alone = replace(recipe, out=tmp_path / "out", work=tmp_path / "work", workers=1)
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
        assert max(jaccard(shingle_set(texts[i]), other) for other in training) < recipe.near_threshold


def test_removed_documents_are_listed(recipe, results):
    removed = [json.loads(line) for line in (recipe.work / "3_deduplicate" / "removed.jsonl").open(encoding="utf-8")]
    assert len(removed) == 11
    assert {r["reason"] for r in removed} == {"exact_duplicate", "near_duplicate"}
    assert all(r["similarity"] >= 0.8 for r in removed)


def test_a_changed_setting_reruns_its_stage_and_those_after_it(recipe, results, tmp_path):
    changed = replace(recipe, out=tmp_path / "out", near_threshold=1.0)
    try:
        again = prepare(changed)
        assert [r.cached for r in again] == [True, True, False, False, False]
        assert again[2].dropped == {"exact_duplicate": 10}
    finally:
        prepare(recipe)


def test_a_stage_does_not_run_on_results_of_other_settings(recipe, results):
    with pytest.raises(DataError, match="'collect' has not run with these settings; run it first"):
        clean(replace(recipe, text_field="content"))


def test_a_folder_that_is_no_dataset_is_not_replaced(recipe, results, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="exists and is not a dataset"):
        write_dataset(replace(recipe, out=tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def run_small(folder: Path, name: str, content: bytes, **settings):
    (folder / name).write_bytes(content)
    return prepare(DataRecipe((folder / name,), folder / "out", folder / "work", workers=1, **settings))


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("empty.txt", b"", {}, "there is no text in it; the corpus is empty"),
        ("empty.jsonl", b"\n\n", {}, "there is no text in it; the corpus is empty"),
        ("blank.jsonl", b'{"text": ""}\n', {}, "there is no text in it"),
        ("tiny.txt", b"too short", {}, "clean left no document .1 too short.; lower --min-characters"),
        ("one.txt", make_document(1).encode(), {"vocab_size": 5000}, "training text supports|no text to train"),
        ("gb.txt", "中文".encode("gb18030"), {}, "not UTF-8 at byte 0"),
    ],
)
def test_bad_input_is_one_message_and_no_dataset(tmp_path, name, content, settings, message):
    with pytest.raises(DataError, match=message):
        run_small(tmp_path, name, content, **settings)
    assert not (tmp_path / "out").exists()


def test_an_error_in_a_worker_process_is_the_same_error(tmp_path, capfd):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n', encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.jsonl:2: not JSON"):
        collect(DataRecipe((corpus,), tmp_path / "out", tmp_path / "work", workers=2))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("field", "value"),
    [("vocab_size", 100), ("validation_share", 0.0), ("near_threshold", 1.5), ("min_characters", 0), ("workers", -1)],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field}={value} must be"):
        DataRecipe(**{field: value})


SCRIPT = """
import sys
from pathlib import Path
from data_prep.pipeline import DataRecipe, prepare
if __name__ == "__main__":
    corpus, out, work = map(Path, sys.argv[1:])
    prepare(DataRecipe((corpus,), out, work, vocab_size=700, workers=2))
"""


@pytest.fixture
def start(tmp_path):
    """Start the pipeline in a process group of its own, and end the group afterwards."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT, encoding="utf-8")
    started = []

    def run(recipe: DataRecipe) -> subprocess.Popen:
        command = [sys.executable, str(script), str(recipe.sources[0]), str(recipe.out), str(recipe.work)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_killed_again_and_again_the_dataset_is_the_same(recipe, results, tmp_path, start):
    killed = replace(recipe, out=tmp_path / "out", work=tmp_path / "work")
    for seconds in (0.5, 0.8, 1.0, 1.2, 1.4, 1.6):
        process = start(killed)
        time.sleep(seconds)
        process.kill()
        process.communicate()
        assert not killed.out.exists() or verify(killed.out)
    process = start(killed)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert contents(killed.out) == contents(recipe.out)


def test_ctrl_c_in_the_whole_group_ends_quietly_and_the_next_run_goes_on(recipe, results, tmp_path, start):
    stopped = replace(recipe, out=tmp_path / "out", work=tmp_path / "work")
    process = start(stopped)
    deadline = time.monotonic() + 60
    while not (stopped.work / ".1_collect.partial" / "run").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.4)  # workers are starting or reading
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count("Traceback") <= 2, errors  # that of this script, which does not catch it; none of workers
    assert not stopped.out.exists()
    assert prepare(stopped)[-1].documents_out == 150
    assert contents(stopped.out) == contents(recipe.out)
