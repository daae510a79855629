"""Train a model. Run: megatron-recipe train RECIPE, or torchrun launch/pretrain_1b.sh

config → process groups → model, optimizer, data → newest checkpoint → steps → checkpoint
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe import checkpoint, console, cpu_backend, data, metrics, model, optimizer, parallel, run_folder
from megatron_recipe.checkpoint import Training
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts, read_dataset_facts
from megatron_recipe.loggers import RunLog
from megatron_recipe.preemption import StopRequest, stop_on_signals
from megatron_recipe.run_state import RunState
from megatron_recipe.train_step import StepResult, train_step
from megatron_recipe.validate_loss import reduce_losses, validation_loss
from megatron_recipe.validation import check_config


@dataclass
class Run:
    """Everything that the loop works with."""

    config: Config
    folder: Path
    ranks: parallel.Ranks
    facts: list[DatasetFacts]
    training: Training
    train_data: Any
    validation_data: Any
    log: RunLog | None
    """None on all ranks but the first."""
    started: float

    @property
    def vocab_size(self) -> int:
        """The tokenizer's vocabulary, before padding."""
        return self.facts[0].vocab_size

    @property
    def state(self) -> RunState:
        """Counters of the run."""
        return self.training.state


def train(config: Config, run_dir: Path) -> StopRequest:
    """Train from the newest checkpoint in `run_dir` (or from the start) to the last step.

    Returns the request that stopped the run early; it is false where the run came to its end.
    Raises ConfigError, DataError, CheckpointError or MachineError for what the user can mend.
    """
    started = time.monotonic()
    facts = check(config, run_dir, parallel.world_size_from_environment(), cpu_backend.is_needed())
    with parallel.process_groups(config) as ranks, stop_on_signals() as stop:
        run = start(config, run_dir, facts, ranks, started)
        try:
            loop(run, stop)
            finish(run, stop)
        finally:
            if run.log:
                run.log.close()
    return stop


def check(config: Config, run_dir: Path, world_size: int, on_cpu: bool) -> list[DatasetFacts]:
    """All checks that need no process group: datasets, cross-field rules, the run folder's past, its architecture."""
    facts = [read_dataset_facts(Path(dataset.path)) for dataset in config.data.datasets]
    check_config(config, facts, world_size, on_cpu)
    newest = checkpoint.complete_checkpoints(run_dir / "checkpoints")[-1:]
    for folder in newest:
        checkpoint.check_architecture(folder, config, facts[0].vocab_size)
        checkpoint.check_data(folder, checkpoint.data_facts(facts))
    if newest:
        run_folder.check_same_run(config, run_dir)
    return facts


def start(config: Config, run_dir: Path, facts: list[DatasetFacts], ranks: parallel.Ranks, started: float) -> Run:
    """Build model, optimizer, schedule and data, and load the newest checkpoint if there is one."""
    chunks = model.build_model(config, facts[0].vocab_size, ranks.device)
    adamw = optimizer.build_optimizer(config, chunks)
    training = Training(chunks, adamw, optimizer.build_scheduler(config, adamw), RunState())
    train_data, validation_data = data.build_datasets(config, facts, run_dir / "index_cache")
    newest = checkpoint.complete_checkpoints(run_dir / "checkpoints")[-1:]
    for folder in newest:
        checkpoint.load_checkpoint(folder, training, config, facts[0].vocab_size)
    log = None
    if ranks.is_first:
        run_folder.write_run_facts(config, run_dir, facts[0].vocab_size, ranks)
        log = RunLog(run_dir, config, training.state.step)
        log.event(
            "resume" if newest else "start",
            step=training.state.step,
            optimizer=optimizer.optimizer_name(adamw),
            layers="Transformer Engine" if model.transformer_engine_is_there() else "Megatron-Core local",
            world_size=ranks.world_size,
        )
        if newest:
            console.say(f"continuing {run_dir} after step {training.state.step} ({newest[0].name})")
    return Run(config, run_dir, ranks, facts, training, train_data, validation_data, log, started)


def loop(run: Run, stop: StopRequest) -> None:
    """Steps to the end, with a record, a validation and a checkpoint when each is due."""
    config, state = run.config, run.state
    last = config.train.stop_at_step or config.train.steps
    total = config.train.steps * config.batch.global_batch_size_samples
    batches = data.micro_batches(run.train_data, total, state.samples, config, run.ranks)
    speed = metrics.Speedometer(config, run.vocab_size, run.ranks, state)
    bar = console.progress("training", last - state.step, "steps") if run.ranks.is_first else console.no_progress()
    with bar as advance:
        while state.step < last and not parallel.any_rank(bool(stop), run.ranks.device):
            result = train_step(run.training, batches, config, run.ranks)
            note = ""
            if is_due(state.step, config.train.log_every_steps, last):
                note = record_step(run, result, speed)
            advance(1, note)
            if is_due(state.step, config.train.validate_every_steps, last):
                validate(run)
                speed.restart(state)
            if is_due(state.step, config.checkpoint.save_every_steps, last):
                save(run)
                speed.restart(state)


def is_due(step: int, every: int, last: int) -> bool:
    """Whether something done every `every` steps (0: only at the last) is done after `step`."""
    return step == last or (every > 0 and step % every == 0)


def record_step(run: Run, result: StepResult, speed: metrics.Speedometer) -> str:
    """Write the step's record; returns the console's line. Reading the loss waits for the GPU, hence only when due."""
    loss_sum, tokens = reduce_losses(result.losses, run.ranks.device).tolist()
    rates = speed.read(run.state)
    mark_time(run)
    if run.log is None:
        return ""
    record = {
        **metrics.position(run.state),
        "loss": loss_sum / tokens,
        "learning_rate": result.learning_rate,
        "grad_norm": result.grad_norm,
        **rates,
    }
    run.log.metric("train", record)
    if not result.updated:
        run.log.event("update_skipped", step=run.state.step, reason="infinite gradient")
    return metrics.console_line(record, run.config.train.steps)


def mark_time(run: Run) -> None:
    """Add the time since the last mark to the run's seconds."""
    now = time.monotonic()
    run.state.seconds += now - run.started
    run.started = now


def validate(run: Run) -> None:
    """Compute and record the held-out loss."""
    samples = data.held_out_samples(run.config, run.facts)
    loss = validation_loss(run.training.model, run.validation_data, samples, run.config, run.ranks)
    mark_time(run)
    if loss is None or run.log is None:
        return
    held_out_bytes = sum(fact.bytes_per_token("validation") * fact.tokens("validation") for fact in run.facts)
    bytes_per_token = held_out_bytes / sum(fact.tokens("validation") for fact in run.facts)
    record = metrics.loss_record(loss, bytes_per_token)
    run.log.metric("validation", {**metrics.position(run.state), **record})
    console.say(
        f"step {run.state.step}: held-out loss {loss:.4f}, perplexity {record['perplexity']:.1f}, "
        f"{record['bits_per_byte']:.3f} bits per byte"
    )


def save(run: Run) -> None:
    """Save a checkpoint and delete the oldest beyond `checkpoint.keep_last`."""
    mark_time(run)
    began = time.monotonic()
    checkpoints = run.folder / "checkpoints"
    data = {"data": checkpoint.data_facts(run.facts)}
    folder = checkpoint.save_checkpoint(checkpoints, run.training, run.config, run.vocab_size, run.ranks, data)
    if run.log:
        checkpoint.prune_checkpoints(checkpoints, run.config.checkpoint.keep_last)
        seconds = round(time.monotonic() - began, 3)
        run.log.event("checkpoint_saved", step=run.state.step, folder=folder.name, seconds=seconds)


def finish(run: Run, stop: StopRequest) -> None:
    """Save what the loop has not saved, and say how it ended."""
    if not checkpoint.step_folder(run.folder / "checkpoints", run.state.step).is_dir():
        save(run)
    if run.log:
        run.log.event("stopped" if stop else "end", step=run.state.step)
        how = "stopped" if stop else "done"
        console.say(f"{how} at step {run.state.step} of {run.config.train.steps}: {run.folder}")
