"""The command `train`: from its arguments to a run, and from the run to an exit code."""

import json
import os
import signal
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.budget import is_clocked, steps_of_tokens
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts, read_dataset_facts, vocabulary
from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.init_from import begins_with_others, check_init_from, find_weights
from megatron_recipe.mix import corpus_paths
from megatron_recipe.plan.hardware import GIB, Hardware, profile
from megatron_recipe.recipes import load_config, one_of
from megatron_recipe.validation import check_config

MANY_EPOCHS = 10


def train_command(
    recipe: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    gpu: str | None,
    *,
    auto_micro_batch: bool,
    dry_run: bool,
) -> int:
    """Run `train`; returns the exit code: 0 at the end or after SIGTERM (resumable), 130 after Ctrl-C."""
    config = with_steps_of_budget(load_config(one_of("train", recipe, config_file), overrides))
    if run_dir == Path() and not (run_dir / "config.yaml").is_file():
        raise ConfigError("--run-dir is empty, or this folder itself; name a folder of the run's own, runs/NAME")
    folder = run_dir or default_run_dir(recipe, config_file)
    if gpu:
        profile(gpu)  # a name that is not known is answered here
    facts = check_without_torch(config)
    check_init_from(config, facts, folder)
    warn_of_many_epochs(config, facts)
    if dry_run:
        check_past(config, folder)
        if gpu:
            say_choice(config, vocabulary(config.model, facts), profile(gpu), recipe)
        say_plan(config, facts, folder)
        return 0
    from megatron_recipe.clouds.shut_down import check_shut_down, shut_down_after_run
    from megatron_recipe.light_imports import light_imports
    from megatron_recipe.sync_background import check_sync

    with light_imports():
        from megatron_recipe.train import Start, train

    check_shut_down(config.budget)
    check_sync(config.checkpoint, folder)
    warn_of_idle_gpus()
    stop = train(config, folder, Start(recipe, gpu, auto_micro_batch))
    if not stop:
        shut_down_after_run(config.budget, config.checkpoint, folder)
    return 130 if stop.signal is signal.SIGINT else 0


def with_steps_of_budget(config: Config) -> Config:
    """A budget of tokens is a number of steps."""
    if not config.budget.amount or is_clocked(config.budget):
        return config
    steps = steps_of_tokens(config)
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": max(steps, 1)})})


def default_run_dir(recipe: str | None, config_file: Path | None) -> Path:
    """runs/RECIPE, or the folder of a run's own config.yaml."""
    if config_file is not None and config_file.name == "config.yaml":
        return config_file.parent
    return Path("runs") / Path(recipe or str(config_file)).stem


def check_without_torch(config: Config) -> list[DatasetFacts]:
    """Datasets and cross-field rules, so that a mistake is answered before torch's seconds of loading."""
    facts = [facts_at(path, config) for path in corpus_paths(config)]
    held_out = [facts_at(entry.path, config) for entry in config.data.validation_sets]
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    # whether there is a GPU is not known without torch: its own rules are checked at the start of a run
    check_config(config, facts, world_size, on_cpu=False, held_out=held_out)
    return facts


def facts_at(path: str, config: Config) -> DatasetFacts:
    """`read_dataset_facts`, whose error also says how a dataset that was moved is named. Raises DataError."""
    try:
        return read_dataset_facts(Path(path))
    except DataError as error:
        if (Path(path) / "manifest.json").exists():
            raise
        paths = [dataset.path for dataset in config.data.datasets]
        if path not in paths:
            field = "data.phases" if path in corpus_paths(config) else "data.validation_sets"
            remedy = f"write its new place into {field} of the configuration"
        else:
            others = " with all datasets of the mix" if len(paths) > 1 else ""
            remedy = f"name its new place: --set data.datasets=NEW{others}"
        raise DataError(f"{error}; if it was moved, {remedy}") from None


def check_past(config: Config, run_dir: Path) -> None:
    """What the start would refuse in a folder that holds a run: other settings, another model. Says where it goes on.

    Raises ConfigError, CheckpointError or MachineError.
    """
    from megatron_recipe.checkpoint_integrity import MARKER, marker_is_whole
    from megatron_recipe.light_imports import light_imports
    from megatron_recipe.lost_checkpoints import require_checkpoints

    require_checkpoints(config.checkpoint, run_dir)
    whole = [path for path in (run_dir / "checkpoints").glob(f"step_*/{MARKER}") if marker_is_whole(path.parent)]
    if not whole:
        return
    with light_imports():
        from megatron_recipe.training_run import check
    check(config, run_dir, int(os.environ.get("WORLD_SIZE", "1")), on_cpu=False)
    step = json.loads(max(whole).read_text(encoding="utf-8"))["step"]
    console.say(f"{run_dir} holds a run, which goes on after step {step:,}")


def warn_of_many_epochs(config: Config, facts: list[DatasetFacts]) -> None:
    """Say so where the text is read many times: mostly a small dataset by mistake."""
    from megatron_recipe.batch_schedule import total_samples

    available = sum(fact.tokens("train") for fact in facts)
    tokens = 0 if is_clocked(config.budget) else total_samples(config) * config.model.sequence_length_tokens
    if tokens > MANY_EPOCHS * available and os.environ.get("RANK", "0") == "0":
        console.warn(
            f"{tokens:,} tokens are {tokens / available:,.0f} times the {available:,} of the datasets; beyond 4 times "
            "the same text teaches little more (Muennighoff et al. 2023): prepare more, or set fewer train.steps"
        )


def say_choice(config: Config, vocab_size: int, card: Hardware, recipe: str | None) -> None:
    """Say what a run would choose on a card. Raises ConfigError where it refuses the run.

    Without torchrun nobody said how many GPUs are meant: what does not fit one is a warning then.
    """
    from megatron_recipe.kernels import planned
    from megatron_recipe.plan.memory import estimate_memory
    from megatron_recipe.plan.resolve import check_precision, fits, resolve

    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    check_precision(config, card, recipe)
    try:
        chosen = resolve(config, vocab_size, card, world_size, recipe)
    except ConfigError as error:
        if "WORLD_SIZE" in os.environ:
            raise
        console.warn(str(error))
        return
    micro_batch, recompute = chosen.batch.micro_batch, chosen.memory.recompute
    memory = estimate_memory(planned(chosen, card.capability), vocab_size, world_size, micro_batch, recompute)
    of_memory = f"{memory.total / GIB:.1f} of {card.memory_bytes / GIB:.1f} GiB"
    if fits(memory, card):
        console.say(f"on {card.card}: micro-batch {micro_batch}, recompute {recompute}, about {of_memory}")
    else:
        console.warn(
            f"batch.micro_batch_size_samples={micro_batch} with memory.recompute={recompute} takes about {of_memory} "
            f"on {card.card}; leave both to auto, or train on more GPUs"
        )


def say_plan(config: Config, facts: list[DatasetFacts], run_dir: Path) -> None:
    """Say what a run would do."""
    from megatron_recipe.batch_schedule import total_samples
    from megatron_recipe.flops import padded_vocab_size, parameter_count

    parameters = parameter_count(config.model, padded_vocab_size(vocabulary(config.model, facts), config.model))
    available = sum(fact.tokens("train") for fact in facts)
    if is_clocked(config.budget):
        length = f"until {config.budget.amount:g} {config.budget.unit} are spent, on {available:,} tokens"
    else:
        tokens = total_samples(config) * config.model.sequence_length_tokens
        length = (
            f"for {config.train.steps:,} steps, {tokens:,} tokens ({tokens / available:.1f} epochs of {available:,})"
        )
    others = begins_with_others(config, run_dir)
    origin = f", beginning with the weights of {find_weights(str(config.train.init_from))}" if others else ""
    console.say(f"would train {parameters:,} parameters {length}, into {run_dir}{origin}")


def warn_of_idle_gpus() -> None:
    """Say so, once a machine, when GPUs would stay idle: torchrun starts one process unless told otherwise."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    import torch

    gpus = torch.cuda.device_count()
    local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if gpus > local_processes:
        console.warn(
            f"{gpus} GPUs are visible and {local_processes} used; start with torchrun --nproc-per-node gpu, "
            "or set PET_NPROC_PER_NODE=gpu"
        )
