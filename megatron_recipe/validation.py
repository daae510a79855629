"""Rules that span several fields of a configuration, all checked before a process group or a GPU is touched."""

from collections.abc import Iterator, Sequence

from megatron_recipe.batch_schedule import ramp_problems, total_samples
from megatron_recipe.budget import budget_problems, is_clocked
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts
from megatron_recipe.errors import ConfigError
from megatron_recipe.evaluation_problems import evaluation_problems
from megatron_recipe.kernels import kernel_problems
from megatron_recipe.loggers.requirements import logging_problems
from megatron_recipe.messages import message_problems
from megatron_recipe.mix import phase_problems
from megatron_recipe.model_problems import precision_and_optimizer_problems


def check_config(
    config: Config,
    facts: list[DatasetFacts],
    world_size: int,
    on_cpu: bool,
    held_out: Sequence[DatasetFacts] = (),
) -> None:
    """Raise one ConfigError with every broken rule, a line each.

    Args:
        facts: of the datasets of the mix and its phases.
        held_out: of `data.validation_sets`.
    """
    problems = [
        *_model_problems(config),
        *_layout_problems(config, world_size),
        *_batch_problems(config, world_size),
        *_schedule_problems(config),
        *_device_problems(config, on_cpu),
        *_data_problems(config, facts, held_out),
        *ramp_problems(config, world_size),
        *phase_problems(config),
        *budget_problems(config),
        *precision_and_optimizer_problems(config, on_cpu),
        *kernel_problems(config),
        *evaluation_problems(config),
        *logging_problems(config),
        *message_problems(config.messages),
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def divisors(number: int) -> str:
    """Divisors of `number` as text, for remedies."""
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)


def _model_problems(config: Config) -> Iterator[str]:
    model = config.model
    if model.num_heads % model.num_kv_groups:
        yield (
            f"model.num_kv_groups={model.num_kv_groups} must divide model.num_heads={model.num_heads}; "
            f"use one of {divisors(model.num_heads)}"
        )
    if model.head_dim % 2:
        yield f"model.head_dim={model.head_dim} must be even, since RoPE turns pairs; use {model.head_dim + 1}"
    if model.qkv_bias and model.qk_norm:
        yield (
            "model.qkv_bias=true does not go with model.qk_norm=true: no Hugging Face class has both, so that the "
            "model could not be exported; set one of them to false"
        )
    scaling = model.rope_scaling
    if scaling.factor != 1 and scaling.low_frequency_factor >= scaling.high_frequency_factor:
        yield (
            f"model.rope_scaling.low_frequency_factor={scaling.low_frequency_factor} must be below "
            f"high_frequency_factor={scaling.high_frequency_factor}; Llama 3 has 1 and 4"
        )


def _layout_problems(config: Config, world_size: int) -> Iterator[str]:
    model, layout = config.model, config.parallel
    ranks = layout.tensor * layout.pipeline * layout.context
    if world_size % ranks:
        yield (
            f"parallel.tensor × pipeline × context = {layout.tensor} × {layout.pipeline} × {layout.context} = {ranks} "
            f"must divide the number of processes, {world_size}; start {ranks} or a multiple with torchrun "
            f"--nproc-per-node {ranks}, or set them to 1"
        )
    for name, size in (
        ("num_heads", model.num_heads),
        ("num_kv_groups", model.num_kv_groups),
        ("ffn_hidden_size", model.ffn_hidden_size),
        ("vocab_multiple_of", model.vocab_multiple_of),
    ):
        if size % layout.tensor:
            yield f"parallel.tensor={layout.tensor} must divide model.{name}={size}; use one of {divisors(size)}"
    pieces = layout.pipeline * layout.virtual_stages
    if model.num_layers % pieces:
        yield (
            f"parallel.pipeline × virtual_stages = {layout.pipeline} × {layout.virtual_stages} = {pieces} must divide "
            f"model.num_layers={model.num_layers}; use a product out of {divisors(model.num_layers)}"
        )
    if layout.virtual_stages > 1 and layout.pipeline == 1:
        yield (
            f"parallel.virtual_stages={layout.virtual_stages} interleaves pipeline stages, but parallel.pipeline=1; "
            "set parallel.virtual_stages=1"
        )
    if layout.sequence_parallel and layout.tensor == 1:
        yield (
            "parallel.sequence_parallel=true splits among tensor-parallel ranks, but parallel.tensor=1; "
            "set parallel.sequence_parallel=false"
        )
    share = layout.tensor if layout.sequence_parallel else 1
    share *= 2 * layout.context if layout.context > 1 else 1
    if model.sequence_length_tokens % share:
        yield (
            f"model.sequence_length_tokens={model.sequence_length_tokens} must be a multiple of {share} for this "
            f"parallel.context and parallel.sequence_parallel; use {model.sequence_length_tokens // share * share}"
        )


def _batch_problems(config: Config, world_size: int) -> Iterator[str]:
    batch, layout = config.batch, config.parallel
    if batch.micro_batch_size_samples == "auto":
        return
    replicas = max(1, world_size // (layout.tensor * layout.pipeline * layout.context))
    at_once = batch.micro_batch * replicas
    if batch.global_batch_size_samples % at_once:
        yield (
            f"batch.global_batch_size_samples={batch.global_batch_size_samples} must be a multiple of "
            f"micro_batch_size_samples × data-parallel ranks = {batch.micro_batch_size_samples} × {replicas} = "
            f"{at_once}; use {-(-batch.global_batch_size_samples // at_once) * at_once}"
        )
    elif layout.virtual_stages > 1 and (batch.global_batch_size_samples // at_once) % layout.pipeline:
        yield (
            f"microbatches in a step, {batch.global_batch_size_samples // at_once}, must be a multiple of "
            f"parallel.pipeline={layout.pipeline} with virtual stages; "
            f"use batch.global_batch_size_samples={at_once * layout.pipeline}"
        )


def _schedule_problems(config: Config) -> Iterator[str]:
    schedule, train = config.schedule, config.train
    if schedule.min_learning_rate > schedule.peak_learning_rate:
        yield (
            f"schedule.min_learning_rate={schedule.min_learning_rate} must not be above "
            f"schedule.peak_learning_rate={schedule.peak_learning_rate}; a tenth of it is usual"
        )
    if round(schedule.warmup_fraction * train.steps) >= train.steps:
        yield (
            f"schedule.warmup_fraction={schedule.warmup_fraction} leaves none of train.steps={train.steps} after the "
            "warm-up; use 0.02 to 0.1"
        )
    if schedule.decay == "wsd" and schedule.warmup_fraction + schedule.wsd_decay_fraction > 1:
        yield (
            f"schedule.warmup_fraction={schedule.warmup_fraction} and "
            f"schedule.wsd_decay_fraction={schedule.wsd_decay_fraction} must not add up to more than 1; "
            f"use schedule.wsd_decay_fraction={1 - schedule.warmup_fraction:.2f} or less, 0.1 to 0.2 is usual"
        )
    if train.stop_at_step > train.steps:
        yield (
            f"train.stop_at_step={train.stop_at_step} lies behind train.steps={train.steps}; "
            "use 0 to run to the end, or raise train.steps"
        )


def _device_problems(config: Config, on_cpu: bool) -> Iterator[str]:
    if not on_cpu:
        return
    if config.precision.dtype != "fp32":
        yield (
            f"precision.dtype={config.precision.dtype} is about ten times slower than fp32 on a CPU, and this machine "
            "has no usable GPU; set precision.dtype=fp32, or run `megatron-recipe doctor` if there should be a GPU"
        )
    if config.parallel.context > 1:
        yield (
            f"parallel.context={config.parallel.context} needs Transformer Engine and a GPU, and this machine has no "
            "usable GPU; set parallel.context=1"
        )


def _data_problems(config: Config, facts: list[DatasetFacts], held_out: Sequence[DatasetFacts]) -> Iterator[str]:
    length = config.model.sequence_length_tokens
    names = [one.name for one in config.data.validation_sets]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"data.validation_sets: {names.count(name)} are named {name}, and their records would be one; rename one"
    for one in config.data.skip_samples:
        if one.first >= one.stop:
            turned = f"use {one.stop}:{one.first}, or " if one.first > one.stop else ""
            yield (
                f"data.skip_samples={one.first}:{one.stop} leaves out nothing: first must be below stop, the position "
                f"that is trained on again; {turned}remove it"
            )
        elif not is_clocked(config.budget) and one.stop - one.first > total_samples(config):
            yield (
                f"data.skip_samples={one.first}:{one.stop} leaves out more samples than the {total_samples(config):,} "
                "that the run trains on; leave out less, or remove it"
            )
    if config.data.mask_between_documents and config.parallel.context > 1:
        yield (
            f"data.mask_between_documents=true cannot be split over parallel.context={config.parallel.context}; "
            "set parallel.context=1, or data.mask_between_documents=false"
        )
    if config.model.vocab_size and config.model.vocab_size < facts[0].vocab_size:
        yield (
            f"model.vocab_size={config.model.vocab_size} is less than the {facts[0].vocab_size} ids of the tokenizer "
            f"of {facts[0].folder}; set model.vocab_size=null, or prepare the dataset with the model's tokenizer"
        )
    for fact in facts:
        if fact.tokens("train") <= length:
            yield (
                f"{fact.folder}: its training split has {fact.tokens('train')} tokens, less than one sample of "
                f"model.sequence_length_tokens={length}; prepare more text or shorten the samples"
            )
    for fact in [*facts, *held_out]:
        if config.train.validation_samples and fact.tokens("validation") <= length:
            yield (
                f"{fact.folder}: its validation split has {fact.tokens('validation')} tokens, less than one sample of "
                f"model.sequence_length_tokens={length}; prepare it with "
                "--set dataset.validation_share=0.1, or set train.validation_samples=0"
            )
    if len({fact.tokenizer_sha256 for fact in [*facts, *held_out]}) > 1:
        yield (
            "data: "
            + ", ".join(str(fact.folder) for fact in [*facts, *held_out])
            + " were made with different tokenizers; prepare their sources together, as one dataset"
        )
