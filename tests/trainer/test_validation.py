"""Each rule that spans several fields, broken once: the message names field, value and remedy."""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config
from megatron_recipe.validation import check_config

SPLITS = {
    "train": {"tokens": 100_000, "bytes": 300_000},
    "validation": {"tokens": 10_000, "bytes": 30_000},
}
FACTS = DatasetFacts(Path("datasets/demo"), 4096, 1, "a" * 64, SPLITS)

# overrides of gpt_tiny_cpu, processes, what the message must say
BROKEN = {
    "groups divide heads": (["model.num_kv_groups=3"], 1, ["model.num_kv_groups=3", "model.num_heads=4", "1, 2, 4"]),
    "RoPE turns pairs": (["model.head_dim=33"], 1, ["model.head_dim=33", "even", "use 34"]),
    "processes for the layout": (
        ["parallel.tensor=2", "parallel.pipeline=2"],
        2,
        ["2 × 2 × 1 = 4", "number of processes, 2", "--nproc-per-node 4"],
    ),
    "tensor divides heads": (["parallel.tensor=3"], 3, ["parallel.tensor=3", "model.num_heads=4", "1, 2, 4"]),
    "tensor divides groups": (
        ["parallel.tensor=4"],
        4,
        ["parallel.tensor=4", "model.num_kv_groups=2", "use one of 1, 2"],
    ),
    "tensor divides the feed-forward": (
        ["parallel.tensor=2", "model.ffn_hidden_size=35"],
        2,
        ["parallel.tensor=2", "model.ffn_hidden_size=35", "1, 5, 7, 35"],
    ),
    "tensor divides the vocabulary": (
        ["parallel.tensor=2", "model.vocab_multiple_of=15"],
        2,
        ["parallel.tensor=2", "model.vocab_multiple_of=15", "1, 3, 5, 15"],
    ),
    "pipeline divides layers": (["parallel.pipeline=3"], 3, ["3 × 1 = 3", "model.num_layers=4", "1, 2, 4"]),
    "virtual stages divide layers": (
        ["parallel.pipeline=2", "parallel.virtual_stages=3"],
        2,
        ["2 × 3 = 6", "model.num_layers=4", "1, 2, 4"],
    ),
    "virtual stages need stages": (
        ["parallel.virtual_stages=2"],
        1,
        ["parallel.virtual_stages=2", "parallel.pipeline=1", "set parallel.virtual_stages=1"],
    ),
    "sequence parallel needs tensor": (
        ["parallel.sequence_parallel=true"],
        1,
        ["parallel.sequence_parallel=true", "parallel.tensor=1", "set parallel.sequence_parallel=false"],
    ),
    "sequence parallel divides the length": (
        ["parallel.sequence_parallel=true", "parallel.tensor=2", "model.sequence_length_tokens=255"],
        2,
        ["model.sequence_length_tokens=255", "multiple of 2", "use 254"],
    ),
    "context divides the length": (
        ["parallel.context=2", "model.sequence_length_tokens=254"],
        2,
        ["model.sequence_length_tokens=254", "multiple of 4", "use 252"],
    ),
    "micro-batch divides the batch": (
        ["batch.global_batch_size_samples=12"],
        1,
        ["batch.global_batch_size_samples=12", "8 × 1 = 8", "use 16"],
    ),
    "ranks divide the batch": ([], 3, ["batch.global_batch_size_samples=16", "8 × 3 = 24", "use 24"]),
    "virtual stages and micro-batches": (
        ["parallel.pipeline=2", "parallel.virtual_stages=2", "batch.micro_batch_size_samples=16"],
        2,
        ["microbatches in a step, 1", "parallel.pipeline=2", "batch.global_batch_size_samples=32"],
    ),
    "least rate below the peak": (
        ["schedule.min_learning_rate=1"],
        1,
        ["schedule.min_learning_rate=1.0", "schedule.peak_learning_rate=0.004", "a tenth"],
    ),
    "steps after the warm-up": (
        ["schedule.warmup_fraction=0.96", "train.steps=10"],
        1,
        ["schedule.warmup_fraction=0.96", "train.steps=10", "use 0.02 to 0.1"],
    ),
    "warm-up and decay within the run": (
        ["schedule.decay=wsd", "schedule.warmup_fraction=0.3", "schedule.wsd_decay_fraction=0.8"],
        1,
        ["schedule.warmup_fraction=0.3", "schedule.wsd_decay_fraction=0.8", "wsd_decay_fraction=0.70 or less"],
    ),
    "validation fills the micro-batches": (
        ["train.validation_samples=8", "parallel.tensor=1"],
        2,
        ["train.validation_samples=8", "8 × 2 = 16", "a multiple of 16", "or 0"],
    ),
    "stop before the end": (
        ["train.stop_at_step=451"],
        1,
        ["train.stop_at_step=451", "train.steps=450", "use 0", "raise train.steps"],
    ),
    "training text for one sample": (
        ["model.sequence_length_tokens=100000"],
        1,
        ["datasets/demo", "training split has 100000 tokens", "model.sequence_length_tokens=100000", "more text"],
    ),
    "held-out text for one sample": (
        ["model.sequence_length_tokens=10000"],
        1,
        ["datasets/demo", "validation split has 10000 tokens", "--validation-share", "train.validation_samples=0"],
    ),
}


def check(overrides: list[str], world_size: int = 1, on_cpu: bool = False, facts: list[DatasetFacts] | None = None):
    check_config(load_config("gpt_tiny_cpu", tuple(overrides)), facts or [FACTS], world_size, on_cpu)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_names_field_value_and_remedy(rule):
    overrides, world_size, parts = BROKEN[rule]
    with pytest.raises(ConfigError) as caught:
        check(overrides, world_size)
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("precision.dtype=bf16", ["precision.dtype=bf16", "set precision.dtype=fp32", "doctor"]),
        ("parallel.context=2", ["parallel.context=2", "Transformer Engine", "set parallel.context=1"]),
    ],
)
def test_what_needs_a_gpu_is_refused_on_a_cpu_alone(override, parts):
    check([override], world_size=2, on_cpu=False)
    with pytest.raises(ConfigError) as caught:
        check([override], world_size=2, on_cpu=True)
    assert [part for part in parts if part not in str(caught.value)] == []


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
    ],
)
def test_what_is_right_passes(overrides, world_size):
    check(overrides, world_size, on_cpu=True)
