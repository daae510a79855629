"""A run that is about to train: its parts built, its newest good checkpoint loaded, its folder written."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megatron_recipe import checkpoint, console, data, model, optimizer, parallel, run_folder
from megatron_recipe.budget import BudgetClock, is_clocked
from megatron_recipe.checkpoint import Training
from megatron_recipe.checkpoint_integrity import marker_is_whole
from megatron_recipe.checkpoint_policy import CheckpointPolicy
from megatron_recipe.checkpoint_writer import CheckpointWriter
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import DatasetFacts, read_dataset_facts, vocabulary
from megatron_recipe.direct_optimizer_state import describe_states_in_place
from megatron_recipe.errors import CheckpointError
from megatron_recipe.in_loop_evaluation import InLoopEvaluation
from megatron_recipe.init_from import check_init_from
from megatron_recipe.initial_weights import take_initial_weights
from megatron_recipe.loggers import RunLog, check_packages
from megatron_recipe.lost_checkpoints import require_checkpoints
from megatron_recipe.mix import corpus_paths
from megatron_recipe.observation import Observation
from megatron_recipe.run_state import RunState
from megatron_recipe.same_choices import require_same_choices
from megatron_recipe.skips import Skips
from megatron_recipe.spending import Spending
from megatron_recipe.stability import Guard
from megatron_recipe.sync_background import BackgroundSync
from megatron_recipe.validate_loss import HeldOutSet, held_out_sets
from megatron_recipe.validation import check_config


@dataclass
class Run:
    """Everything that the loop works with."""

    config: Config
    folder: Path
    ranks: parallel.Ranks
    facts: list[DatasetFacts]
    training: Training
    train_data: data.TrainingData
    held_out: list[HeldOutSet]
    evaluation: InLoopEvaluation | None
    """None where evaluation.every_steps is 0."""
    skips: Skips
    guard: Guard
    writer: CheckpointWriter
    policy: CheckpointPolicy
    spending: Spending
    clock: BudgetClock | None
    """Of a run whose length is a budget; None where it is a number of steps."""
    observation: Observation
    log: RunLog | None
    """None on all ranks but the first."""
    started: float
    """`time.monotonic()` up to which the run's seconds are counted."""
    copies: BackgroundSync | None = None
    """Of checkpoint.sync_to; None where there is none, and on all ranks but the first."""
    saved_step: int = -1
    """Step of the checkpoint that was saved or loaded last."""
    last_validation: dict[str, float] = field(default_factory=dict)
    """Loss of each held-out set at `validated_step`."""
    validated_step: int = -1
    validation_seconds: float = 0.0
    """What the last validation took."""
    evaluated_step: int = -1
    """Step of the last evaluation of benchmarks."""
    evaluation_seconds: float = 0.0
    """What it took."""

    @property
    def vocab_size(self) -> int:
        """The tokenizer's vocabulary, before padding."""
        return vocabulary(self.config.model, self.facts)

    @property
    def state(self) -> RunState:
        """Counters of the run."""
        return self.training.state

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints lie."""
        return self.folder / "checkpoints"

    def event(self, event: str, **facts: Any) -> None:
        """Write down that something happened, and tell whom it concerns, once for all ranks."""
        if self.log:
            self.log.event(event, **facts)
        if self.observation.messenger:
            self.observation.messenger.send(event, facts)

    def say(self, message: str) -> None:
        """Say something once for all ranks."""
        if self.ranks.is_first:
            console.say(message)

    def mark_time(self) -> None:
        """Add the time since the last mark to the run's seconds."""
        now = time.monotonic()
        self.state.seconds += now - self.started
        self.started = now
        if self.ranks.is_first:
            self.spending.mark()


def check(config: Config, run_dir: Path, world_size: int, on_cpu: bool) -> list[DatasetFacts]:
    """All checks that need no process group: datasets, cross-field rules, the run folder's past, its architecture."""
    facts = [read_dataset_facts(Path(path)) for path in corpus_paths(config)]
    held_out = [read_dataset_facts(Path(entry.path)) for entry in config.data.validation_sets]
    check_config(config, facts, world_size, on_cpu, held_out)
    check_packages(config)
    check_init_from(config, facts, run_dir)
    require_checkpoints(config.checkpoint, run_dir)
    for folder in reversed(checkpoint.complete_checkpoints(run_dir / "checkpoints")):
        if not marker_is_whole(folder):
            continue  # damaged: an older one will be taken
        marker = checkpoint.read_marker(folder)
        checkpoint.check_architecture(folder, config, vocabulary(config.model, facts))
        checksums = checkpoint.data_facts(facts)
        checkpoint.check_data(folder, checksums)
        known = {**marker["data"], **checksums}
        run_folder.check_same_run(config, run_dir, marker["samples"], marker["position"], known)
        break
    return facts


def start(config: Config, run_dir: Path, facts: list[DatasetFacts], ranks: parallel.Ranks, started: float) -> Run:
    """Build model, optimizer, schedule and data, and load the newest good checkpoint if there is one."""
    vocab_size = vocabulary(config.model, facts)
    require_same_choices(config)
    chunks = model.build_model(config, vocab_size, ranks.device)
    updater = optimizer.build_optimizer(config, chunks)
    describe_states_in_place(updater)
    training = Training(
        chunks,
        updater,
        optimizer.build_scheduler(config, updater),
        RunState(),
        first_gathers=checkpoint.host_is_small(config, vocab_size),
    )
    cache = run_dir / data.INDEX_CACHE
    spending = Spending(run_dir, config.budget, started)
    run = Run(
        config=config,
        folder=run_dir,
        ranks=ranks,
        facts=facts,
        training=training,
        train_data=data.build_mix(config, cache),
        held_out=held_out_sets(config, cache),
        evaluation=InLoopEvaluation(config, facts[0], ranks) if config.evaluation.every_steps else None,
        skips=Skips(run_dir),
        guard=Guard(config.stability),
        writer=CheckpointWriter(run_dir / "checkpoints", config, vocab_size, ranks),
        policy=CheckpointPolicy(config.checkpoint),
        spending=spending,
        clock=BudgetClock(config.budget, spending) if is_clocked(config.budget) else None,
        observation=Observation(config, run_dir, ranks),
        log=None,
        started=started,
    )
    take_up(run)
    run.observation.profiler.begin(run.state.step)
    return run


def take_up(run: Run) -> None:
    """Load the newest checkpoint that verifies, and begin the log where it stands."""
    newest, damaged = checkpoint.newest_good(run.checkpoints, run.ranks)
    if newest:
        if warning := checkpoint.short_memory(run.config, run.vocab_size):
            run.say(f"warning: {warning}")
        checkpoint.load_checkpoint(newest, run.training, run.config, run.vocab_size)
        run.saved_step = run.state.step
    elif damaged and run.config.checkpoint.when_none_is_whole == "stop":
        raise CheckpointError(
            f"{run.checkpoints}: none of its {len(damaged)} checkpoints is whole ({damaged[0]}); bring a copy back "
            "with `megatron-recipe sync --from`, or begin anew with another --run-dir or with "
            "checkpoint.when_none_is_whole=begin_anew"
        )
    elif run.config.train.init_from:
        origin = take_initial_weights(run.training, run.config, run.ranks)
        run.say(f"beginning with the weights of {origin}")
    new_skips = run.skips.wanted(run.config.data.skip_samples, run.state.position)
    for skip in new_skips:
        run.skips.add(skip.first, skip.stop)
    if run.ranks.is_first:
        checkpoint.delete_leftovers(run.checkpoints)
        for problem in damaged:
            checkpoint.set_aside(run.checkpoints / problem.split(":")[0])
        run_folder.write_run_facts(run.config, run.folder, run.vocab_size, run.ranks)
        if new_skips:
            run.skips.write()
        run.log = RunLog(run.folder, run.config, run.state.step)
        run.copies = BackgroundSync(run.folder, run.config.checkpoint) if run.config.checkpoint.sync_to else None
    for problem in damaged:
        run.event("checkpoint_damaged", folder=problem.split(":")[0], reason=problem)
        run.say(f"warning: checkpoint {problem}; taking the one before it")
    run.event(
        "resume" if newest else "start",
        init_from=None if newest else run.config.train.init_from,
        step=run.state.step,
        position=run.state.position,
        optimizer=optimizer.optimizer_name(run.training.optimizer),
        layers=model.layers_name(run.config),
        world_size=run.ranks.world_size,
        micro_batch=run.config.batch.micro_batch,
    )
    for skip in new_skips:
        run.event("skip_samples", first=skip.first, stop=skip.stop)
    if newest:
        run.say(f"continuing {run.folder} after step {run.state.step} ({newest.name})")
    elif damaged:
        run.say("warning: no checkpoint of this run is whole: beginning anew, as it is set")


@contextmanager
def running(
    config: Config, run_dir: Path, facts: list[DatasetFacts], ranks: parallel.Ranks, started: float
) -> Iterator[Run]:
    """`start`, and the end of what it opened."""
    run = start(config, run_dir, facts, ranks, started)
    try:
        yield run
    except Exception as error:
        run.event("failed", step=run.state.step, error=f"{type(error).__name__}: {error}")
        raise
    finally:
        if ranks.is_first:
            run.spending.mark(now=True)
        if run.log:
            run.log.close()
        run.observation.close()
