"""Held-out loss against a computation by hand, in all and by source."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from hand_losses import hand_losses
from transformers import AutoModelForCausalLM

from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from eval.perplexity import evaluate_perplexity
from megatron_recipe.errors import CheckpointError, DataError

EOD, LENGTH = 1, 32


@pytest.fixture(scope="module")
def result(model_dir, dataset):
    return evaluate_perplexity(model_dir, dataset, batch_size=3)


@pytest.fixture(scope="module")
def expected(model_dir, dataset):
    """Loss of each token of validation.bin, one window at a time, from the tokens that training would read."""
    model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
    stream = torch.tensor([EOD, *np.fromfile(dataset / "validation.bin", dtype=np.uint16).tolist()])
    return np.array(hand_losses(model, stream, LENGTH, LENGTH))


def test_loss_perplexity_and_bits_are_those_of_the_tokens_that_training_reads(result, expected, dataset):
    split = result["splits"]["validation"]
    manifest = json.loads((dataset / "manifest.json").read_text())["splits"]["validation"]
    assert {key: split[key] for key in ("documents", "tokens", "bytes")} == {
        key: manifest[key] for key in ("documents", "tokens", "bytes")
    }
    assert split["loss"] == pytest.approx(expected.mean(), rel=1e-6)
    assert split["perplexity"] == pytest.approx(math.exp(expected.mean()), rel=1e-5)
    assert split["bits_per_byte"] == pytest.approx(expected.sum() / math.log(2) / manifest["bytes"], rel=1e-6)


def test_sources_have_the_losses_of_their_documents(result, expected, dataset):
    tokenizer = SentencePieceTokenizer(dataset / "tokenizer/tokenizer.model")
    sums: dict[tuple[str, str], list[float]] = {}
    position = 0
    for line in (dataset / "validation.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        tokens = len(tokenizer.encode(record["text"])) + 1
        entry = sums.setdefault((record["metadata"]["source"], record["metadata"]["language"]), [0, 0, 0])
        entry[0] += tokens
        entry[1] += expected[position : position + tokens].sum()
        entry[2] += len(record["text"].encode())
        position += tokens
    assert position == len(expected)
    found = {(row["source"], row["language"]): row for row in result["by_source"]}
    assert found.keys() == sums.keys() == {("docs", "en"), ("idioms", "zh"), ("awkward", "en")}
    for key, (tokens, nats, size) in sums.items():
        assert (found[key]["tokens"], found[key]["bytes"]) == (tokens, size)
        assert found[key]["loss"] == pytest.approx(nats / tokens, rel=1e-6)
        assert found[key]["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_nothing(model_dir, dataset, result, batch_size):
    again = evaluate_perplexity(model_dir, dataset, batch_size=batch_size)
    assert again["splits"]["validation"]["loss"] == pytest.approx(result["splits"]["validation"]["loss"], rel=1e-6)


def test_max_tokens_takes_whole_documents_of_all_sources(model_dir, dataset, result):
    less = evaluate_perplexity(model_dir, dataset, batch_size=8, max_tokens=9000)
    again = evaluate_perplexity(model_dir, dataset, batch_size=8, max_tokens=9000)
    split = less["splits"]["validation"]
    assert 5000 < split["tokens"] <= 9000 < result["splits"]["validation"]["tokens"]
    assert split == again["splits"]["validation"]
    assert len(less["by_source"]) == 3
    one = evaluate_perplexity(model_dir, dataset, batch_size=8, max_tokens=1)
    assert one["splits"]["validation"]["documents"] == 1


def test_the_unigram_bar_is_left_out_for_another_tokenizer(model_dir, dataset, result, tmp_path):
    assert result["splits"]["validation"]["unigram_loss"] > 0
    copy = shutil.copytree(dataset, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["tokenizer"]["golden"][0]["ids"][0] += 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    other = evaluate_perplexity(model_dir, copy, batch_size=8, max_tokens=500)
    assert other["splits"]["validation"]["unigram_loss"] is None


def test_what_is_missing_is_named(model_dir, dataset, tmp_path):
    with pytest.raises(CheckpointError, match="not a Hugging Face folder"):
        evaluate_perplexity(tmp_path, dataset, batch_size=8)
    with pytest.raises(DataError, match="not a dataset"):
        evaluate_perplexity(model_dir, tmp_path, batch_size=8)
    copy = shutil.copytree(dataset, tmp_path / "copy")
    (copy / "validation.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no text"):
        evaluate_perplexity(model_dir, copy, batch_size=8)
