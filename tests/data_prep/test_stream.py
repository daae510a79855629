"""A streamed dataset holds the reference's ids of what was kept, whatever the workers and the kills."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from made_texts import make_document
from small_recipe import changed, contents, make_recipe

from data_prep.growing_dataset import GrowingDataset
from data_prep.megatron_writer import read_tokens
from data_prep.recipe import DataRecipe
from data_prep.stream import local_shards, stream
from data_prep.tokenizers.load import load_reference
from data_prep.verify import verify
from megatron_recipe.errors import ConfigError, DataError

SHARDS, DOCUMENTS = 5, 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stream") / "corpus"
    folder.mkdir()
    for shard in range(SHARDS):
        texts = [make_document(100 * shard + i, "zh" if i % 2 else "en") for i in range(DOCUMENTS)]
        texts += [texts[3], "short", ""]
        records = [{"text": text, "id": f"{shard}-{i}"} for i, text in enumerate(texts)]
        (folder / f"{shard}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def streamed(corpus, tmp_path, tokenizer) -> DataRecipe:
    return changed(make_recipe(corpus, tmp_path), tokenizer__file=tokenizer.path, dataset__validation_share=0.1)


def run(recipe: DataRecipe, **arguments):
    discarded: list[Path] = []
    result = stream(recipe, partial(local_shards, recipe.sources), discarded.append, **arguments)
    return result, discarded


def interrupt():
    raise KeyboardInterrupt


def two_shards_and_ctrl_c(recipe: DataRecipe, done: set[str]):
    yield from list(local_shards(recipe.sources, done))[:2]
    interrupt()


def run_until_ctrl_c(recipe: DataRecipe) -> None:
    with pytest.raises(KeyboardInterrupt):
        stream(recipe, partial(two_shards_and_ctrl_c, recipe), lambda path: None)


def test_every_document_kept_is_in_the_dataset_once(corpus, streamed, tokenizer):
    result, discarded = run(streamed)
    assert (result.documents_in, result.documents_out) == (SHARDS * (DOCUMENTS + 3), SHARDS * DOCUMENTS)
    assert result.dropped == {"exact_duplicate": SHARDS, "too_short": SHARDS, "empty": SHARDS}
    assert discarded == sorted(corpus.iterdir())
    assert f"{SHARDS * DOCUMENTS} documents" in verify(streamed.out)
    held_out = [json.loads(line)["id"] for line in (streamed.out / "validation.jsonl").open(encoding="utf-8")]
    index, tokens = read_tokens(streamed.out / "train")
    found = [part.tolist() for part in np.split(tokens, np.cumsum(index.lengths)[:-1])]
    records = [json.loads(line) for path in discarded for line in path.open()]
    assert found == [
        [*tokenizer.encode(record["text"]), tokenizer.eod_id]
        for record in records
        if record["id"] not in held_out and int(record["id"].partition("-")[2]) < DOCUMENTS
    ]
    pairs = {f"{split}.{suffix}" for split in ("train", "validation") for suffix in ("bin", "idx")}
    others = {"validation.jsonl", "contaminated.jsonl", "tokenizer", "manifest.json"}
    assert {path.name for path in streamed.out.iterdir()} == pairs | others
    assert not streamed.work.exists()


def test_workers_change_no_byte_and_a_limit_ends_with_the_same_shard(streamed, tmp_path):
    run(streamed, max_tokens=15_000)
    alone = changed(streamed, out=tmp_path / "alone", work=tmp_path / "w", executor__workers=1)
    result, discarded = run(alone, max_tokens=15_000)
    assert contents(alone.out) == contents(streamed.out)
    assert len(read_tokens(alone.out / "train")[1]) >= 15_000
    assert 1 < len(discarded) < SHARDS and result.documents_out == DOCUMENTS * len(discarded)


def test_a_shard_that_was_half_written_is_written_again(streamed, tmp_path):
    run(streamed)
    broken = changed(streamed, out=tmp_path / "broken", work=tmp_path / "w")
    run_until_ctrl_c(broken)
    growing = tmp_path / ".broken.growing"
    with (growing / "train.bin").open("ab") as file:
        file.write(b"half a shard")
    with (growing / "journal.jsonl").open("ab") as file:
        file.write(b'{"name": "half a li')
    assert len(GrowingDataset(growing, load_reference(streamed.tokenizer.file)).shards) == 2
    result, discarded = run(broken)
    assert len(discarded) == SHARDS - 2 and result.documents_out == SHARDS * DOCUMENTS
    assert contents(broken.out) == contents(streamed.out)


def test_an_evaluation_item_is_dropped_and_listed(streamed, tmp_path):
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": make_document(7)}) + "\n")
    lines = [json.dumps({"text": make_document(i), "id": str(i)}) + "\n" for i in range(60)]
    (tmp_path / "c.jsonl").write_text("".join(lines))
    against = {"against": [str(tmp_path / "quiz.jsonl")]}
    recipe = changed(streamed, sources=[str(tmp_path / "c.jsonl")], decontaminate=against)
    result, _ = run(recipe)
    assert result.dropped == {"contaminated": 1}
    hits = [json.loads(line) for line in (recipe.out / "contaminated.jsonl").open(encoding="utf-8")]
    assert [(hit["id"], hit["item"]) for hit in hits] == [("7", 0)]


def test_what_a_stream_cannot_do_is_said(streamed, tmp_path):
    with pytest.raises(ConfigError, match=r"a stream needs tokenizer.file and no dataset.shuffle"):
        run(changed(streamed, dataset__shuffle=True))
    with pytest.raises(DataError, match="there was no shard to read"):
        stream(streamed, lambda done: iter(()), lambda path: None)


def test_other_settings_do_not_go_on_with_what_was_begun(streamed):
    run_until_ctrl_c(streamed)
    with pytest.raises(DataError, match="was begun with other settings and holds 2 shards"):
        run(changed(streamed, seed=5))


SCRIPT = """
import sys
from functools import partial
from data_prep.recipe import DataRecipe
from data_prep.stream import local_shards, stream
if __name__ == "__main__":
    recipe = DataRecipe.model_validate_json(sys.argv[1])
    stream(recipe, partial(local_shards, recipe.sources), lambda path: None)
"""


def test_killed_at_any_moment_the_dataset_is_the_same(streamed, tmp_path):
    run(streamed)
    killed = changed(streamed, out=tmp_path / "killed", work=tmp_path / "w")
    command = [sys.executable, "-c", SCRIPT, killed.model_dump_json()]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for seconds in (0.9, 1.2, 1.5, 1.8):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not killed.out.exists():
        subprocess.run(command, env=environment, check=True, capture_output=True)
    assert contents(killed.out) == contents(streamed.out)
