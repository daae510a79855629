"""`data who` names the documents that the loader really gave to a step, skips and phases included."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.manifest import read_manifest
from data_prep.tokenizers.load import load_reference
from megatron_recipe.config import Config, SampleRange
from megatron_recipe.data import build_mix, train_batches
from megatron_recipe.data_who import positions_of
from megatron_recipe.errors import ConfigError
from megatron_recipe.files import write_json
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config, write_config
from megatron_recipe.sample_order import advance

BATCH = 4
SKIP = SampleRange(first=10, stop=15)


@pytest.fixture
def config(dataset: Path) -> Config:
    return load_config(
        "gpt_tiny_cpu",
        (
            f"data.datasets={dataset}",
            "model.sequence_length_tokens=64",
            f"batch.global_batch_size_samples={BATCH}",
            "batch.micro_batch_size_samples=2",
        ),
    )


@pytest.fixture
def run_dir(config: Config, tmp_path: Path) -> Path:
    """A run that left out positions 10 to 14, after a rollback from step 4 to step 2."""
    write_config(config, tmp_path / "config.yaml")
    entry = {"first": SKIP.first, "stop": SKIP.stop, "from_step": 2, "at_step": 4}
    write_json(tmp_path / "skips.json", {"skips": [entry]})
    return tmp_path


def answer(run_dir: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["who", str(run_dir), *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("step", [1, 2, 3, 4, 100])
def test_it_names_what_the_loader_gave(run_dir, config, step, dataset, tmp_path):
    loader = train_batches(
        build_mix(config, tmp_path / "loader"), 0, 0, [SKIP], config, Ranks(0, 1, 0, 1, torch.device("cpu"))
    )
    batches = list(itertools.islice(loader, (step - 1) * 2, step * 2))
    tokens = torch.cat([batch["tokens"] for batch in batches]).tolist()
    found = json.loads(answer(run_dir, "--step", str(step), "--samples", "0", "--json"))
    assert len(found["samples"]) == BATCH
    corpus = build_mix(config, tmp_path / "loader").corpora[0].indexed
    for sample, expected in zip(found["samples"], tokens, strict=True):
        parts = [
            corpus.get(part["document"], offset=part["first_token"], length=part["stop_token"] - part["first_token"])
            for part in sample["documents"]
        ]
        assert [int(one) for part in parts for one in part][:-1] == expected


def test_text_is_the_beginning_of_the_part(run_dir, dataset):
    sample = json.loads(answer(run_dir, "--step", "1", "--json"))["samples"][0]
    document = sample["documents"][0]
    tokenizer = load_reference(dataset / read_manifest(dataset)["tokenizer"]["file"])
    ids = tokenizer.encode(document["text"])
    assert len(document["text"]) > 20 and 0 < len(ids) <= 64 + 2
    assert (sample["dataset"], sample["epoch"], sample["position"]) == (str(dataset), 0, 0)


def test_the_table_says_what_was_left_out(run_dir):
    table = answer(run_dir, "--step", "3", "--samples", "2")
    assert "step 3: 4 samples, positions 8 to 16" in table
    assert "left out (skips.json)" in table
    assert "… and 2 more samples" in table
    assert "left out" not in answer(run_dir, "--step", "2")


def test_positions_follow_a_run_through_its_rollbacks(config):
    """Steps are played as a run plays them: each with the skips that were known then, and again after each rollback."""
    rollbacks = [(4, 2), (9, 6), (10, 5)]  # at this step, back to that one
    skips: list[SampleRange] = []
    before = {1: 0}  # position before each step
    step = 1
    while step <= 14:
        after = advance(before[step], BATCH, skips)
        if rollbacks and rollbacks[0][0] == step:
            _, back = rollbacks.pop(0)
            skips.append(SampleRange(first=before[back + 1], stop=after))
            step = back + 1
            continue
        before[step + 1] = after
        step += 1
    assert len(skips) == 3
    for number in range(1, 15):
        assert positions_of(config.batch, number, skips)[-1] + 1 == before[number + 1]


def test_a_folder_without_a_run_and_a_step_that_is_none_are_errors(run_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"no config\.yaml"):
        answer(tmp_path / "elsewhere", "--step", "1")
    with pytest.raises(ConfigError, match="steps count from 1"):
        answer(run_dir, "--step", "0")
