"""Each rule that spans several fields, broken once: the message names field, value and remedy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from broken_configurations import BROKEN

from megatron_recipe import model_problems
from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config
from megatron_recipe.validation import check_config

SPLITS = {
    "train": {"tokens": 100_000, "bytes": 300_000},
    "validation": {"tokens": 10_000, "bytes": 30_000},
}
FACTS = DatasetFacts(Path("datasets/demo"), 4096, 1, "a" * 64, SPLITS)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever keys and addresses whoever runs the tests has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NETRC", "WANDB_API_KEY", "SWANLAB_API_KEY", "MEGATRON_RECIPE_WEBHOOK", "MEGATRON_RECIPE_HEARTBEAT"):
        monkeypatch.delenv(name, raising=False)


def test_at_least_forty_configurations_are_refused():
    assert len(BROKEN) >= 40


def check(
    overrides: list[str],
    world_size: int = 1,
    on_cpu: bool = False,
    facts: list[DatasetFacts] | None = None,
    held_out: Sequence[DatasetFacts] = (),
) -> None:
    check_config(load_config("gpt_tiny_cpu", tuple(overrides)), facts or [FACTS], world_size, on_cpu, held_out)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_names_field_value_and_remedy(rule):
    overrides, world_size, parts = BROKEN[rule]
    with pytest.raises(ConfigError) as caught:
        check(overrides, world_size)
    message = str(caught.value)
    # in one line of them: a rule that is broken may break another one
    assert any(all(part in line for part in parts) for line in message.splitlines()), message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("precision.dtype=bf16", ["precision.dtype=bf16", "set precision.dtype=fp32", "doctor"]),
        ("precision.dtype=fp16", ["precision.dtype=fp16", "set precision.dtype=fp32", "doctor"]),
        ("parallel.context=2", ["parallel.context=2", "Transformer Engine", "set parallel.context=1"]),
        ("precision={dtype: bf16, fp8: delayed}", ["precision.fp8=delayed", "8.9 or more", "set precision.fp8=off"]),
    ],
)
def test_what_needs_a_gpu_is_refused_on_a_cpu_alone(override, parts):
    check([override], world_size=2, on_cpu=False)
    with pytest.raises(ConfigError) as caught:
        check([override], world_size=2, on_cpu=True)
    assert any(all(part in line for part in parts) for line in str(caught.value).splitlines()), caught.value


def test_muon_without_its_package_is_refused(monkeypatch):
    monkeypatch.setattr(model_problems, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"optimizer\.kind=muon needs .*not installed; run pip install emerging"):
        check(["optimizer.kind=muon", "parallel.distributed_optimizer=false"])


@pytest.mark.parametrize("variable", ["MEGATRON_RECIPE_WEBHOOK", "MEGATRON_RECIPE_HEARTBEAT"])
def test_an_address_that_is_none_is_refused_and_not_shown(monkeypatch, variable):
    monkeypatch.setenv(variable, "chat.example/secret-key")
    with pytest.raises(ConfigError, match=f"the address in {variable} must begin with https://") as caught:
        check([])
    assert "secret-key" not in str(caught.value)


def test_a_held_out_set_has_the_tokenizer_of_the_mix():
    other = replace(FACTS, folder=Path("datasets/exam"))
    check([], held_out=[other])
    with pytest.raises(ConfigError, match=r"datasets/demo, datasets/exam were made with different tokenizers"):
        check([], held_out=[replace(other, tokenizer_sha256="b" * 64)])


def test_a_held_out_set_holds_a_sample():
    splits = {**SPLITS, "validation": {"tokens": 256, "bytes": 900}}
    short = replace(FACTS, folder=Path("datasets/exam"), splits=splits)
    with pytest.raises(ConfigError) as caught:
        check([], held_out=[short])
    for part in ("datasets/exam: its validation split has 256 tokens", "sequence_length_tokens=256", "samples=0"):
        assert part in str(caught.value)
    check(["train.validation_samples=0"], held_out=[short])
    splits["validation"]["tokens"] = 257  # a sample, and the label of its last token
    check([], held_out=[short])


def test_only_the_training_split_of_the_mix_has_to_train():
    splits = {**SPLITS, "train": {"tokens": 1, "bytes": 4}}
    check([], held_out=[replace(FACTS, splits=splits)])
    with pytest.raises(ConfigError, match="training split has 1 tokens"):
        check([], facts=[replace(FACTS, splits=splits)])


def test_datasets_of_a_mix_share_their_tokenizer():
    other = replace(FACTS, folder=Path("datasets/other"), tokenizer_sha256="b" * 64)
    check([], facts=[FACTS, replace(other, tokenizer_sha256=FACTS.tokenizer_sha256)])
    with pytest.raises(ConfigError, match=r"datasets/demo, datasets/other .*different tokenizers.*as one dataset"):
        check([], facts=[FACTS, other])


def test_all_broken_rules_are_said_at_once_one_a_line():
    with pytest.raises(ConfigError) as caught:
        check(["model.num_kv_groups=3", "model.head_dim=33", "train.stop_at_step=500"])
    assert [line.partition("=")[0] for line in str(caught.value).splitlines()] == [
        "model.num_kv_groups",
        "model.head_dim",
        "train.stop_at_step",
    ]


@pytest.mark.parametrize(
    ("overrides", "world_size"),
    [
        ([], 1),
        ([], 2),
        (["parallel.tensor=2", "parallel.sequence_parallel=true"], 2),
        (["parallel.pipeline=2", "parallel.virtual_stages=2"], 2),
        (["parallel.tensor=2", "parallel.pipeline=2"], 8),
        (["train.validation_samples=0", "model.sequence_length_tokens=10000"], 1),
        (["batch.ramp_up_from_samples=8", "batch.ramp_up_increment_samples=8", "batch.ramp_up_steps=9"], 1),
        (["data.phases=[{from_step: 20, datasets: [{path: a}]}, {from_step: 21, datasets: [{path: b}]}]"], 1),
        (["data.phases=[{from_step: 900, datasets: [{path: a}]}]", "budget.amount=9", "budget.unit=hours"], 1),
        (["budget.amount=9", "budget.price_per_hour=5", "schedule.decay=wsd"], 1),
        (["optimizer.kind=sgd", "parallel.distributed_optimizer=false"], 1),
        (["data.mask_between_documents=true"], 2),
        (["logging.wandb=offline", "logging.profile_first_step=5", "logging.profile_last_step=5"], 1),
        (["logging.histograms_every_steps=10"], 1),
    ],
)
def test_what_is_right_passes(overrides, world_size):
    check(overrides, world_size, on_cpu=True)


def test_benchmarks_need_lm_eval_and_only_where_they_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("megatron_recipe.evaluation_problems.find_spec", lambda name: None)
    check(["evaluation.tasks=[arc]"])
    file = tmp_path / "arc_easy/test.jsonl"
    file.parent.mkdir()
    file.write_text("{}", encoding="utf-8")
    wanted = ["evaluation.every_steps=5", "evaluation.tasks=[arc_easy]", f"evaluation.data_dir={tmp_path}"]
    with pytest.raises(ConfigError, match=r"needs lm-eval, which is not installed; run pip install .*\[eval\]"):
        check(wanted)
    monkeypatch.setattr("megatron_recipe.evaluation_problems.find_spec", lambda name: object())
    check(wanted)
