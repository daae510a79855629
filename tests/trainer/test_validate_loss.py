"""Held-out sets: always the same samples, by weight and each once; their loss does not depend on how it is computed."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.model import build_model
from megatron_recipe.parallel import Ranks
from megatron_recipe.recipes import load_config
from megatron_recipe.validate_loss import held_out_sets, part_names, validation_losses

AVAILABLE = 221
"""Validation samples of the small dataset, of 64 tokens each."""


@pytest.fixture(scope="module")
def other(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(dataset, tmp_path_factory.mktemp("other") / "other"))


def configured(dataset: Path, other: Path, *overrides: str) -> Config:
    mix = f"data.datasets=[{{path: {dataset}, weight: 3}}, {{path: {other}, weight: 1}}]"
    named = f"data.validation_sets=[{{name: second, path: {other}}}]"
    small = ("model.num_layers=1", "model.hidden_size=32", "model.num_heads=1", "model.num_kv_groups=1")
    return load_config("gpt_tiny_cpu", (mix, named, *small, "model.sequence_length_tokens=64", *overrides))


def test_each_set_has_its_name_and_samples_by_weight(dataset, other, tmp_path):
    own, named = held_out_sets(configured(dataset, other, "train.validation_samples=100"), tmp_path)
    assert (own.name, named.name) == ("validation", "validation/second")
    assert Counter(corpus for corpus, _ in own.places) == {0: 75, 1: 25}
    assert named.places == [(0, sample) for sample in range(100)]
    assert own.bytes_per_token == pytest.approx(read_dataset_facts(dataset).bytes_per_token("validation"))


@pytest.mark.parametrize(("asked", "own_has"), [(290, 290), (400, 400), (5000, 2 * AVAILABLE)])
def test_a_split_that_is_used_up_is_not_repeated(dataset, other, tmp_path, asked, own_has):
    own, named = held_out_sets(configured(dataset, other, f"train.validation_samples={asked}"), tmp_path)
    assert (own.samples, named.samples) == (own_has, AVAILABLE)
    assert len(set(own.places)) == own_has
    assert all(sample < AVAILABLE for _, sample in own.places)


def test_fewer_samples_are_the_first_of_more(dataset, other, tmp_path):
    few, many = (
        held_out_sets(configured(dataset, other, f"train.validation_samples={count}"), tmp_path)[0]
        for count in (40, 400)
    )
    assert few.places == many.places[:40]


def test_the_mix_has_a_part_for_each_of_its_datasets(dataset, other, tmp_path):
    own, named = held_out_sets(configured(dataset, other, "train.validation_samples=100"), tmp_path)
    assert [(part.name, part.samples) for part in own.parts] == [("validation/small", 75), ("validation/other", 25)]
    assert sorted(place for part in own.parts for place in part.places) == sorted(own.places)
    assert named.parts == ()
    alone = configured(dataset, other, f"data.datasets={dataset}", "train.validation_samples=100")
    assert held_out_sets(alone, tmp_path)[0].parts == ()


def test_parts_are_named_in_full_where_folders_have_one_name(dataset, other):
    mix = "data.datasets=[{path: a/main}, {path: b/main}, {path: c/second}, {path: d/code}]"
    assert part_names(configured(dataset, other, mix)) == ["a/main", "b/main", "c/second", "code"]


def test_no_validation_has_no_sets(dataset, other, tmp_path):
    assert held_out_sets(configured(dataset, other, "train.validation_samples=0"), tmp_path) == []


def test_the_loss_is_the_same_for_any_micro_batch(dataset, other, tmp_path, megatron_groups):
    """21 samples are no multiple of 2, 4 and 8, so that batches have to be filled up."""
    ranks = Ranks(0, 1, 0, 1, torch.device("cpu"))
    losses = []
    model = None
    for micro_batch in (1, 2, 4, 8):
        overrides = ("train.validation_samples=21", f"batch.micro_batch_size_samples={micro_batch}")
        config = configured(dataset, other, *overrides)
        model = model or build_model(config, read_dataset_facts(dataset).vocab_size, ranks.device)
        (own, loss), *parts = validation_losses(model, held_out_sets(config, tmp_path)[0], config, ranks)
        losses.append(loss)
        assert [part.name for part, _ in parts] == ["validation/small", "validation/other"]
        of_parts = sum(part.samples * one for part, one in parts) / own.samples
        assert loss == pytest.approx(of_parts, abs=1e-6) and len({loss, *(one for _, one in parts)}) == 3
    assert losses == pytest.approx([losses[0]] * 4, abs=1e-6)
    assert 5 < losses[0] < 8  # about the logarithm of 500 pieces, for weights that know nothing
    assert all(chunk.training for chunk in model)


def test_a_dataset_that_stands_in_the_mix_twice_has_one_record(dataset):
    twice = load_config("gpt_tiny_cpu", (f"data.datasets={dataset},{dataset}",))
    assert len(set(part_names(twice))) == 1
