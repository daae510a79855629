"""The model of memory: against peaks that were measured, and in the direction that each setting must push it."""

import itertools

import pytest

from megatron_recipe.plan.hardware import GIB
from megatron_recipe.plan.memory import RECOMPUTE_LEVELS, Memory, estimate_memory, memory_by_stage
from megatron_recipe.recipes import load_config, recipe_names

VOCABULARY = 32_000


def estimate(recipe: str, micro_batch: int = 1, recompute: str = "none", world_size: int = 1, *sets: str) -> Memory:
    return estimate_memory(load_config(recipe, sets), VOCABULARY, world_size, micro_batch, recompute)


# Peaks of torch.cuda.max_memory_allocated in GiB on an H100 80GB: torch 2.11, megatron-core 0.19.2, Transformer Engine
# 2.20.2. By `python -m benchmarks.plan_memory`, 2026-11-24:
PLAIN = ("kernels.loss=megatron",)
# By `python -m benchmarks.step_profile` and `benchmarks.train`, 2026-11-25, with quack-kernels 0.6.5:
ENGINE, FUSED = ("kernels.layer=engine",), ("kernels.layer=fused",)
MEASURED = [
    ("gpt_1b", PLAIN, 4, 41.27),
    ("gpt_1b", PLAIN, 8, 64.80),
    ("gpt_1b_fp8", PLAIN, 4, 40.59),
    ("gpt_1b_fp8", PLAIN, 8, 61.61),
    ("gpt_3b", PLAIN, 1, 56.21),
    ("gpt_3b", PLAIN, 2, 66.43),
    ("gpt_3b_fp8", PLAIN, 1, 60.01),
    ("gpt_3b_fp8", PLAIN, 2, 69.09),
    ("gpt_1b", ENGINE, 8, 57.1),
    ("gpt_1b_fp8", ENGINE, 8, 53.9),
    ("gpt_1b", FUSED, 8, 49.0),
    ("gpt_1b_fp8", FUSED, 8, 53.2),
    ("gpt_100m", FUSED, 32, 19.5),
    ("gpt_300m", FUSED, 16, 39.3),
    ("gpt_7b_1gpu", FUSED, 2, 71.6),
]


@pytest.mark.parametrize(("recipe", "sets", "micro_batch", "peak"), MEASURED)
def test_peaks_are_within_a_hundredth_of_what_was_measured(recipe, sets, micro_batch, peak):
    config = load_config(recipe, sets)
    recompute = config.memory.recompute if config.memory.recompute != "auto" else "none"
    memory = estimate_memory(config, VOCABULARY, 1, micro_batch, recompute)
    assert memory.allocated == pytest.approx(peak * GIB, rel=0.01)


TENSOR = ("parallel.tensor=2", "parallel.sequence_parallel=true", *ENGINE)
PIPELINE = ("parallel.pipeline=2", *FUSED)
INTERLEAVED = (*PIPELINE, "parallel.virtual_stages=2")
# The fullest of the GPUs: one H200, and two, by `python -m benchmarks.scaling`, 2026-11-30
SPREAD = [
    ("gpt_1b", FUSED, 1, 64, 16, 80.4),
    ("gpt_1b_fp8", FUSED, 1, 64, 16, 87.5),
    ("gpt_3b", FUSED, 1, 16, 8, 107.1),
    ("gpt_1b", FUSED, 2, 64, 16, 74.6),
    ("gpt_1b", PIPELINE, 2, 64, 4, 25.0),
    ("gpt_1b", TENSOR, 2, 64, 16, 48.8),
    ("gpt_7b", FUSED, 2, 16, 2, 109.4),
    ("gpt_7b", TENSOR, 2, 16, 4, 96.1),
]


@pytest.mark.parametrize(("recipe", "sets", "gpus", "samples", "micro_batch", "peak"), SPREAD)
def test_peaks_of_layouts_are_within_two_hundredths_of_what_was_measured(
    recipe, sets, gpus, samples, micro_batch, peak
):
    config = load_config(recipe, (f"batch.global_batch_size_samples={samples}", *sets))
    memory = estimate_memory(config, VOCABULARY, gpus, micro_batch, "none")
    assert memory.allocated == pytest.approx(peak * GIB, rel=0.015)


# Ranks that share an H200, a stage each, by `python -m benchmarks.layout_memory`, 2026-12-01
STAGES = [
    ("gpt_1b", INTERLEAVED, 2, [19.10, 15.71]),
    ("gpt_1b_fp8", INTERLEAVED, 2, [21.07, 17.09]),
    ("gpt_1b", ("parallel.pipeline=4", *FUSED), 1, [9.24, 7.23, 6.31, 6.63]),
]


@pytest.mark.parametrize(("recipe", "sets", "micro_batch", "peaks"), STAGES)
def test_peaks_of_stages_are_within_three_hundredths_of_what_was_measured(recipe, sets, micro_batch, peaks):
    samples = 3 * len(peaks) * micro_batch
    config = load_config(recipe, (f"batch.global_batch_size_samples={samples}", *sets))
    planned = memory_by_stage(config, VOCABULARY, len(peaks), micro_batch, "none")
    assert [memory.allocated / GIB for memory in planned] == pytest.approx(peaks, rel=0.03)


def test_bytes_of_a_layer_by_hand():
    """gpt_1b: width 2048, keys and values 512 wide, SwiGLU 8192, 16 heads."""
    token = {
        "norms' inputs and outputs": 4 * 2048 * 2,
        "queries, keys, values, attention's output": (2048 + 512 + 512 + 2048) * 2,
        "log sums of the softmax": 16 * 4,
        "gate, up, and their product": 3 * 8192 * 2,
    }
    one, two = (estimate("gpt_1b", 1, "none", 1, f"model.num_layers={layers}") for layers in (1, 2))
    assert two.activations - one.activations == sum(token.values()) * 4096


def test_static_parts_are_18_bytes_a_parameter_and_shared_by_the_distributed_optimizer():
    alone, eight = estimate("gpt_1b"), estimate("gpt_1b", world_size=8)
    assert alone.weights + alone.gradients + alone.optimizer == 18 * 1_038_682_112
    assert (eight.weights, eight.gradients) == (alone.weights, alone.gradients)
    assert eight.optimizer * 8 == alone.optimizer
    plain = estimate("gpt_1b", 1, "none", 8, "parallel.distributed_optimizer=false")
    assert plain.optimizer == alone.optimizer


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_larger_micro_batch_takes_more_and_recompute_takes_less(recipe):
    for recompute in RECOMPUTE_LEVELS:
        sizes = [estimate(recipe, micro_batch, recompute).total for micro_batch in (1, 2, 4, 8)]
        assert sizes == sorted(set(sizes))
    by_level = [estimate(recipe, 4, recompute).total for recompute in RECOMPUTE_LEVELS]
    assert by_level == sorted(by_level, reverse=True)
    # in FP8 the second linear layer keeps its own copy of what selective recompute gives back
    assert len(set(by_level)) == (2 if recipe.endswith("_fp8") else 3)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (("parallel.tensor=2",), ()),
        (("parallel.tensor=4",), ("parallel.tensor=2",)),
        (("parallel.tensor=2", "parallel.sequence_parallel=true"), ("parallel.tensor=2",)),
        (("parallel.context=2",), ()),
        (("parallel.pipeline=2",), ()),
        (("parallel.pipeline=2",), ("parallel.pipeline=2", "parallel.virtual_stages=2")),
        (("optimizer.kind=sgd",), ("optimizer.kind=muon",)),
        (("optimizer.kind=muon",), ()),
        ((), ("precision.dtype=fp32",)),
        ((), ("model.qk_norm=true",)),
        ((), ("model.tied_embeddings=false",)),
        (("model.sequence_length_tokens=2048",), ()),
    ],
)
def test_settings_push_the_right_way(less, more):
    assert estimate("gpt_1b", 2, "none", 8, *less).total < estimate("gpt_1b", 2, "none", 8, *more).total


def test_fp8_keeps_copies_of_the_weights_and_smaller_activations():
    bf16, fp8 = estimate("gpt_1b", 8), estimate("gpt_1b_fp8", 8)
    assert fp8.fp8_weights == 2 * 16 * (3 * 2048 * 8192 + 2048 * 128 * (2 * 16 + 2 * 4))
    assert bf16.fp8_weights == 0
    values, copy = 16 * 4096 * 8 * (2 * 2048 + 8192), 16 * 4096 * 8 * 2048
    assert bf16.activations - fp8.activations == values - copy  # a byte less for three operands, one more for a copy
    tensorwise = estimate("gpt_1b", 8, "none", 1, "precision.fp8=tensorwise")
    assert bf16.activations - tensorwise.activations == values


def test_the_first_stage_of_a_pipeline_keeps_as_many_micro_batches_as_there_are_stages():
    whole = estimate("gpt_1b", 1, "none", 4, "parallel.context=4").activations
    first = estimate("gpt_1b", 1, "none", 4, "parallel.pipeline=4").activations
    # a quarter of the layers, four micro-batches: what one rank keeps of the layers is that of the whole model
    assert first == pytest.approx(4 * whole, rel=0.02)


def test_a_small_vocabulary_puts_the_peak_into_the_backward_pass():
    """The logits become their gradient, 2 bytes each; with a small vocabulary a layer's gradients are larger."""
    config = load_config("gpt_1b")
    losses = [estimate_memory(config, vocab, 1, 4, "none").loss for vocab in (1_000, 2_000, 32_000, 64_000)]
    assert losses[0] == losses[1] < losses[2]
    assert losses[3] == 64_000 * 2 * 4 * 4096 == 2 * losses[2]


def test_every_part_counts():
    memory = Memory(*(10**power for power in range(8)))
    assert memory.total == 11_111_111 and memory.allocated == 1_111_111
    assert len(set(itertools.chain(memory.parts()))) == 8


def test_rounded_states_are_10_bytes_a_parameter():
    rounded = estimate("gpt_1b", 1, "none", 1, "optimizer.states=bf16", "precision.gradients=bf16")
    assert rounded.weights + rounded.gradients + rounded.optimizer == 10 * 1_038_682_112
    assert rounded.activations == estimate("gpt_1b").activations
