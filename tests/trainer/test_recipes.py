"""Recipes resolve, mistakes in them are named, and a resolved one reads back equal."""

import pytest
from commands import ROOT
from typer.testing import CliRunner

from megatron_recipe import recipes
from megatron_recipe.cli import app
from megatron_recipe.errors import ConfigError
from megatron_recipe.flops import flops_per_token, parameter_count
from megatron_recipe.recipes import load_config, parse_config, recipe_names, write_config
from megatron_recipe.settings import RecipeFolder


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_passes_its_checks_on_a_dataset(dataset, recipe):
    arguments = ["train", recipe, "--dry-run", "--set", f"data.datasets={dataset}"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "would train" in result.stderr and f"runs/{recipe}" in result.stderr


@pytest.mark.parametrize(
    ("recipe", "sets", "code", "said"),
    [
        ("gpt_1b", (), 0, "on NVIDIA A100 80 GB: micro-batch 8, recompute none, about "),
        ("gpt_1b_fp8", (), 2, "use the recipe gpt_1b"),
        ("gpt_7b", (), 0, "GPUs, which share the optimizer's states"),
        ("gpt_1b", ("batch.micro_batch_size_samples=64", "memory.recompute=none"), 0, "leave both to auto"),
    ],
)
def test_a_dry_run_says_what_a_card_would_make_of_it(dataset, monkeypatch, recipe, sets, code, said):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    settings = [word for setting in (f"data.datasets={dataset}", *sets) for word in ("--set", setting)]
    result = CliRunner().invoke(app, ["train", recipe, "--gpu", "a100_80", "--dry-run", *settings])
    assert (said in (result.stderr + str(result.exception))) and ("would train" in result.stderr) is not bool(code)


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_written_configuration_reads_back_equal(tmp_path, recipe):
    config = load_config(recipe, ("train.seed=7", "data.datasets=数据/甲,datasets/b"))
    write_config(config, tmp_path / "config.yaml")
    assert load_config(str(tmp_path / "config.yaml")) == config
    assert "数据/甲" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


SIZES = ("100m", "300m", "1b", "3b", "7b")


def test_base_is_no_recipe_of_its_own():
    assert "base" not in recipe_names()
    both = {f"gpt_{size}{fp8}" for size in SIZES for fp8 in ("", "_fp8")}
    assert set(recipe_names()) == {"gpt_tiny_cpu", "gpt_1b_10b", "gpt_7b_1gpu"} | both


@pytest.mark.parametrize("size", SIZES)
def test_an_fp8_recipe_differs_from_its_sister_in_precision_alone(size):
    config, sister = load_config(f"gpt_{size}_fp8"), load_config(f"gpt_{size}")
    assert config.precision.fp8 == "delayed" and sister.precision.fp8 == "off"
    assert config.model_copy(update={"precision": sister.precision}) == sister
    # Transformer Engine multiplies in FP8 only where each side is a multiple of 16
    model = config.model
    assert {n % 16 for n in (model.hidden_size, model.ffn_hidden_size, model.head_dim, model.vocab_multiple_of)} == {0}


@pytest.mark.parametrize("size", SIZES)
def test_recipes_for_gpus_leave_memory_to_the_card_and_train_enough(size):
    config = load_config(f"gpt_{size}")
    assert config.batch.micro_batch_size_samples == "auto" and config.memory.recompute == "auto"
    tokens = config.train.steps * config.batch.global_batch_size_samples * config.model.sequence_length_tokens
    assert 19 <= tokens / parameter_count(config.model, 32_000) <= 22
    assert (ROOT / f"launch/pretrain_{size}.sh").read_text(encoding="utf-8").count(f"gpt_{size}") == 2


def test_what_the_comments_of_gpt_1b_say():
    config, half = load_config("gpt_1b"), load_config("gpt_1b_10b")
    tokens_a_step = config.batch.global_batch_size_samples * config.model.sequence_length_tokens
    assert config.train.steps * tokens_a_step / 1e9 == pytest.approx(20, rel=0.01)
    assert half.train.steps * tokens_a_step / 1e9 == pytest.approx(10, rel=0.01)
    assert config.schedule.warmup_fraction * config.train.steps == 380
    assert 2000 / config.train.steps == pytest.approx(0.10, abs=0.01)
    a100_tokens = 0.55 * 311.9e12 / flops_per_token(config.model, 32_000, causal=False) * 7 * 86_400
    assert a100_tokens / 1e9 == pytest.approx(13, rel=0.02)


def test_an_unknown_recipe_lists_the_known_and_suggests_one():
    with pytest.raises(ConfigError) as caught:
        load_config("gpt_tiny")
    message = str(caught.value)
    assert message.startswith("unknown recipe 'gpt_tiny' (did you mean 'gpt_tiny_cpu'?)")
    assert all(name in message for name in recipe_names()) and ".yaml" in message
    with pytest.raises(ConfigError, match=r"nothing\.yaml: no such file; known recipes: .*gpt_1b"):
        load_config("nothing.yaml")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("model.hiden_size=64", ["model.hiden_size is not known", "did you mean 'hidden_size'?", "num_layers"]),
        ("modle.hidden_size=64", ["modle is not known", "did you mean 'model'?", "optimizer"]),
        ("train.zzz=1", ["train.zzz is not known; train has: steps, stop_at_step"]),
        ("data.datasets=[{path: a, wieght: 2}]", ["wieght is not known (did you mean 'weight'?)"]),
        ("data.datasets=[]", ["data.datasets=[]", "at least 1 item"]),
        ("model.hidden_size=0", ["model.hidden_size=0", "greater than 0"]),
        ("model.hidden_size=wide", ["model.hidden_size='wide'", "valid integer"]),
        ("model.num_layers=2.5", ["model.num_layers=2.5", "valid integer"]),
        ("optimizer.beta2=1", ["optimizer.beta2=1", "less than 1"]),
        ("schedule.decay=cosin", ["schedule.decay='cosin'", "'cosine', 'linear', 'wsd' or 'constant'"]),
        ("precision.dtype=fp8", ["precision.dtype='fp8'", "'fp32', 'bf16' or 'fp16'"]),
        ("parallel.tensor=-1", ["parallel.tensor=-1", "greater than 0"]),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(override, parts):
    with pytest.raises(ConfigError) as caught:
        load_config("gpt_tiny_cpu", (override,))
    message = str(caught.value)
    assert message.startswith("gpt_tiny_cpu: ")
    assert [part for part in parts if part not in message] == [], message


def test_what_is_missing_is_named_with_the_remedy():
    values = load_config("gpt_tiny_cpu").model_dump()
    del values["train"]["steps"]
    with pytest.raises(
        ConfigError, match=r"mine: train\.steps is missing; set it in the recipe or with --set train\.steps="
    ):
        parse_config(values, "mine")


@pytest.mark.parametrize("override", ["train.steps", "=3", "train.=3", ""])
def test_an_override_has_a_section_a_field_and_a_value(override):
    with pytest.raises(ConfigError, match=r"write it as section\.field=value"):
        load_config("gpt_tiny_cpu", (override,))
    with pytest.raises(ConfigError, match="not a YAML value"):
        load_config("gpt_tiny_cpu", ("train.steps=[1",))


def test_an_override_without_section_is_told_the_sections():
    with pytest.raises(ConfigError, match=r"steps is not known; the recipe has: model, data"):
        load_config("gpt_tiny_cpu", ("steps=3",))


def test_overrides_are_numbers_words_and_lists():
    config = load_config(
        "gpt_tiny_cpu",
        (
            "schedule.peak_learning_rate=1e-3",
            "optimizer.epsilon=1e-9",
            "model.qk_norm=true",
            "schedule.decay=wsd",
            "train.steps=10",
            "train.steps=20",
            "data.datasets=[{path: a, weight: 3}, {path: b}]",
        ),
    )
    assert config.schedule.peak_learning_rate == 1e-3 and config.optimizer.epsilon == 1e-9
    assert config.model.qk_norm and config.schedule.decay == "wsd"
    assert config.train.steps == 20, "the last one counts"
    assert [(dataset.path, dataset.weight) for dataset in config.data.datasets] == [("a", 3.0), ("b", 1.0)]
    assert [one.path for one in load_config("gpt_1b", ("data.datasets=x,y",)).data.datasets] == ["x", "y"]


def test_a_users_file_extends_a_recipe_and_states_what_differs(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: gpt_tiny_cpu\nmodel:\n  num_layers: 2\n", encoding="utf-8")
    config, parent = load_config(str(mine)), load_config("gpt_tiny_cpu")
    assert config.model.num_layers == 2
    assert config == parent.model_copy(update={"model": parent.model.model_copy(update={"num_layers": 2})})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- a\n- b\n", "must be a mapping, not "),
        (b"model: [", "not valid YAML"),
        (b"model:\n  \xb5: 1\n", "not valid YAML"),
        (b"", "must be a mapping, not "),
        (b"extends: gpt_tiny\n", "unknown recipe 'gpt_tiny'"),
    ],
)
def test_a_file_that_is_no_recipe_is_said_to_be_none(tmp_path, content, said):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_config(str(path))


def test_a_file_that_extends_itself_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "RECIPES", RecipeFolder(tmp_path))
    for name, parent in (("one", "two"), ("two", "one")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {parent}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="one extends two extends one: no file may extend itself"):
        load_config("one")
