"""A manifest that does not add up is refused, and every kind of damage to a dataset is noticed."""

import json
import shutil

import numpy as np
import pytest
from made_texts import make_document
from small_recipe import make_recipe

from data_prep.inspect_dataset import counts_table, samples
from data_prep.manifest import read_manifest
from data_prep.pipeline import prepare
from data_prep.verify import verify
from megatron_recipe.errors import DataError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    with (folder / "books.jsonl").open("w", encoding="utf-8") as file:
        for seed in range(200):
            text = make_document(seed, "zh" if seed % 2 else "en")
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    prepare(make_recipe(folder / "books.jsonl", folder, **{"executor.workers": 1}))
    return folder / "out"


@pytest.fixture
def copy(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "copy")


def test_a_whole_dataset_verifies(dataset):
    assert "200 documents" in verify(dataset)


def change_bin(folder):
    ids = np.memmap(folder / "train.bin", dtype=np.uint16, mode="r+")
    ids[5] = 699 if ids[5] != 699 else 698
    ids.flush()


def change_id_range(folder):
    ids = np.memmap(folder / "train.bin", dtype=np.uint16, mode="r+")
    ids[5] = 4000
    ids.flush()


def cut_bin(folder):
    path = folder / "validation.bin"
    path.write_bytes(path.read_bytes()[:-2])


def change_manifest(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def change_golden(folder):
    change_manifest(folder, lambda m: m["tokenizer"]["golden"][0]["ids"].reverse())


def change_count(folder):
    change_manifest(folder, lambda m: m["splits"]["train"].update(documents=1))


def change_held_out_text(folder):
    path = folder / "validation.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"text":"', '"text":"X', 1), encoding="utf-8")


def change_tokenizer(folder):
    path = folder / "tokenizer" / "tokenizer.model"
    path.write_bytes(path.read_bytes() + b"\x00")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_bin, "train.bin: its SHA-256 is not"),
        (change_id_range, "has the id 4000, but the vocabulary ends at 699"),
        (cut_bin, "its index asks for"),
        (change_golden, "gives other ids for 'The quick brown fox"),
        (change_count, "documents, not 1"),
        (change_held_out_text, "line 1 is not the text of document 0"),
        (lambda folder: (folder / "train.idx").unlink(), "cannot read the index"),
        (lambda folder: (folder / "validation.jsonl").unlink(), "validation.jsonl: cannot be read"),
        (lambda folder: (folder / "manifest.json").unlink(), "not a dataset"),
        (lambda folder: change_manifest(folder, lambda m: m["counts"].update(read=999)), "must be counts.kept plus"),
        (lambda folder: change_manifest(folder, lambda m: m.pop("splits")), "splits is missing or not of type dict"),
        (lambda folder: change_manifest(folder, lambda m: m.update(format="other/2")), "format is 'other/2'"),
        (change_tokenizer, "tokenizer"),
    ],
)
def test_damage_is_noticed(copy, damage, message):
    damage(copy)
    with pytest.raises(DataError, match=message):
        verify(copy)


def test_the_manifest_counts_what_is_there(dataset):
    manifest = read_manifest(dataset)
    held_out = [json.loads(line) for line in (dataset / "validation.jsonl").open(encoding="utf-8")]
    validation = manifest["splits"]["validation"]
    assert validation["documents"] == len(held_out)
    assert validation["characters"] == sum(len(d["text"]) for d in held_out)
    assert validation["bytes"] == sum(len(d["text"].encode()) for d in held_out)
    assert {d["metadata"]["language"] for d in held_out} == {"zh"} | {d["metadata"]["language"] for d in held_out}
    splits = manifest["splits"].values()
    assert sum(s["bytes"] for s in manifest["sources"]) == sum(s["bytes"] for s in splits)
    assert sum(s["documents"] for s in manifest["sources"]) == manifest["counts"]["kept"] == 200


def test_inspect_shows_counts_and_text_that_is_in_the_corpus(dataset):
    table = "\n".join(counts_table(dataset))
    assert "read 200 documents, kept 200" in table
    assert "books" in table
    corpus = {make_document(seed, "zh" if seed % 2 else "en") for seed in range(200)}
    shown = list(samples(dataset, "train", 3, characters=10_000))
    assert len(shown) == 3
    assert all(sample.split("──\n", 1)[1] in corpus for sample in shown)
    with pytest.raises(DataError, match="has no split 'test'; its splits: train, validation"):
        list(samples(dataset, "test", 1))
