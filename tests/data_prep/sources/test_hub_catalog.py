"""The catalogue of datasets: what each must say, and how names are found."""

import re

import pytest

from data_prep.sources.catalog import DATASETS, describe, find_dataset
from megatron_recipe.errors import ConfigError


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_each_says_what_it_is(dataset):
    assert dataset.title and dataset.license and dataset.category and dataset.languages
    assert dataset.home.startswith("https://")
    assert re.search("[\u4e00-\u9fff]", dataset.about_zh)
    assert dataset.about_en.isascii()
    assert dataset.facts_from
    assert 0.3 < dataset.bytes_per_token < 6
    assert dataset.huggingface or dataset.by_hand
    assert len({subset.name for subset in dataset.subsets}) == len(dataset.subsets)
    assert all(not subset.folder.endswith("/") for subset in dataset.subsets)


def test_published_sizes_agree_with_the_estimate():
    for dataset in DATASETS.values():
        first = dataset.subsets[0]
        if first.tokens and first.gigabytes:
            estimated = first.gigabytes * 1e9 / dataset.bytes_per_token
            assert estimated == pytest.approx(first.tokens, rel=0.1)


def test_slips_of_plans_are_set_right():
    assert DATASETS["skypile"].subsets[0].tokens == 150e9
    assert DATASETS["wanjuan"].huggingface is None
    assert "opendatalab.com" in DATASETS["wanjuan"].by_hand
    assert DATASETS["the_stack"].is_gated


def test_names():
    assert find_dataset("FineWeb-Edu").name == "fineweb_edu"
    with pytest.raises(ConfigError, match=r"known are fineweb, fineweb_edu, .*did you mean skypile\?"):
        find_dataset("skypiel")


def test_subsets():
    fineweb = DATASETS["fineweb"]
    assert fineweb.subset(None).folder == "sample/10BT"
    assert fineweb.subset("CC-MAIN-2024-10").folder == "data/CC-MAIN-2024-10"
    assert DATASETS["the_stack"].subset("c++").folder == "data/c++"
    with pytest.raises(ConfigError, match=r"fineweb has sample-10BT, .* a name like CC-MAIN.*did you mean sample-10BT"):
        fineweb.subset("sample-10B")
    with pytest.raises(ConfigError, match="skypile has default"):
        DATASETS["skypile"].subset("2020")


def test_the_list_is_in_both_languages():
    text = "\n".join(describe())
    assert "SkyPile" not in text or "1500 亿" in text
    assert all(name in text for name in DATASETS)
