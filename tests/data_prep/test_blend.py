"""Weights of a mix: what they sum to, what names mean, how often a dataset is read, and that training takes them."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from data_prep.blend import Part, blend, read_parts, write_blend
from data_prep.cli import app
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.recipes import load_config

PARTS = [
    Part(Path("sets/wiki"), "encyclopedia", 1_000),
    Part(Path("sets/stack"), "code", 3_000),
    Part(Path("sets/smol"), "code", 1_000),
    Part(Path("sets/fineweb"), "web", 5_000),
]


def weights(shares, alpha=1.0):
    return [round(part.weight, 6) for part in blend(PARTS, shares, alpha)]


def test_without_shares_datasets_count_by_their_size():
    assert weights({}) == [0.1, 0.3, 0.1, 0.5]
    assert weights({}, alpha=0.0) == [0.25, 0.25, 0.25, 0.25]
    roots = [tokens**0.5 for tokens in (1_000, 3_000, 1_000, 5_000)]
    assert weights({}, alpha=0.5) == [round(root / sum(roots), 6) for root in roots]


def test_a_share_is_of_the_whole_mix_and_a_category_divides_its_share():
    assert weights({"wiki": 0.4}) == [0.4, round(0.6 * 3 / 9, 6), round(0.6 / 9, 6), round(0.6 * 5 / 9, 6)]
    assert weights({"code": 0.2, "web": 0.5}) == [0.3, 0.15, 0.05, 0.5]
    assert weights({"code": 0.2, "web": 0.5, "wiki": 0.3}) == [0.3, 0.15, 0.05, 0.5]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"stak": 0.2}, "weight stak: no such dataset or category .did you mean 'stack'"),
        ({"code": 0.2, "stack": 0.1}, "sets/stack: two weights mean it, 'stack' the second"),
        ({"web": 1.2}, "the weights sum to 1.2, they must leave a part"),
        ({"web": 1.0}, "must leave a part of 1 for the other datasets"),
        ({"web": 0.5, "code": 0.2, "wiki": 0.2}, "the weights sum to 0.9, they must sum to 1"),
        ({"web": 0.0}, "weight web=0 must be above 0"),
    ],
)
def test_shares_that_cannot_be(shares, message):
    with pytest.raises(ConfigError, match=message):
        blend(PARTS, shares)
    with pytest.raises(ConfigError, match=r"alpha=1.5 must be between 0"):
        blend(PARTS, {}, 1.5)


def test_epochs_are_the_tokens_drawn_over_the_tokens_there():
    wiki = blend(PARTS, {"wiki": 0.4})[0]
    assert wiki.epochs(20_000) == pytest.approx(0.4 * 20_000 / 1_000)


@pytest.fixture
def datasets(recipe, results, tmp_path):
    """Two datasets of one tokenizer: the shared one, and a copy that calls itself code."""
    other = shutil.copytree(recipe.out, tmp_path / "code")
    manifest = json.loads((other / "manifest.json").read_text(encoding="utf-8"))
    for source in manifest["sources"]:
        source["category"] = "code"
    (other / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return [recipe.out, other]


def test_the_command_writes_a_mix_that_training_takes(datasets, tmp_path):
    out = tmp_path / "blend.yaml"
    tokens = [json.loads((d / "manifest.json").read_text())["splits"]["train"]["tokens"] for d in datasets]
    result = CliRunner().invoke(
        app, ["blend", *map(str, datasets), "--weight", "code=0.25", "--total-tokens", "1e6", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert f"{0.25e6 / tokens[1]:.2f}" in result.stdout
    assert "would be read" in result.stderr
    config = load_config("gpt_tiny_cpu", (f"data.datasets={out}",))
    assert [(d.path, d.weight) for d in config.data.datasets] == [(str(datasets[0]), 0.75), (str(datasets[1]), 0.25)]


def test_a_file_without_a_mix_is_refused(tmp_path):
    (tmp_path / "other.yaml").write_text("model: {}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"other.yaml: has no data.datasets; write a mix"):
        load_config("gpt_tiny_cpu", (f"data.datasets={tmp_path / 'other.yaml'}",))


def test_datasets_of_two_tokenizers_do_not_mix(datasets):
    manifest = json.loads((datasets[1] / "manifest.json").read_text(encoding="utf-8"))
    manifest["tokenizer"]["sha256"] = "0" * 64
    (datasets[1] / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(DataError, match="has another tokenizer than"):
        read_parts(datasets)


def test_weights_keep_six_digits(tmp_path):
    write_blend(blend(PARTS, {}, 0.7), tmp_path / "b.yaml")
    read = yaml.safe_load((tmp_path / "b.yaml").read_text())["data"]["datasets"]
    assert sum(dataset["weight"] for dataset in read) == pytest.approx(1, abs=1e-5)
