"""Train a model. Run: megatron-recipe train RECIPE, or torchrun launch/pretrain_1b.sh

config → process groups → model, optimizer, data → newest good checkpoint → steps → checkpoint
"""

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from megatron_recipe import console, cpu_backend, data, metrics, parallel, recording, rollback
from megatron_recipe.agreement import agree, first_ranks
from megatron_recipe.config import Config
from megatron_recipe.dataset_facts import vocabulary
from megatron_recipe.environment import set_for_training
from megatron_recipe.forward_step import forward_step
from megatron_recipe.host_monitor import TimedIterator
from megatron_recipe.loader_workers import dead_workers_are_an_error
from megatron_recipe.lost_ranks import lost_ranks_are_an_error
from megatron_recipe.out_of_memory import out_of_memory_is_an_error, within_limit
from megatron_recipe.overlap import parameters_in_place
from megatron_recipe.preemption import StopRequest, stop_on_signals
from megatron_recipe.run_folder import held_by_first_rank
from megatron_recipe.stability import Verdict
from megatron_recipe.this_machine import choose, hardware_here
from megatron_recipe.train_step import StepResult, train_step
from megatron_recipe.training_run import Run, check, running
from megatron_recipe.validation import check_config

Batches = TimedIterator[data.Batch]
SMOOTHING = 0.1
"""Weight of the newest step in the mean time of a step."""
TIME_LIMIT_PATIENCE = 2.0
"""Times what the last save and validation took: a limit that kills is not to be met in the middle of a save."""
LEAST_RESERVE_SECONDS = 10.0
"""Kept back in any case, but not more than a fifth of the limit: loggers close, and a disk is slower now and then."""
FIRST_SAVE_SECONDS = 60.0
"""Kept back of the time limit, but not more than half of it, while this process has not saved: its first save is the
slowest, and was not measured yet."""


@dataclass(frozen=True)
class Start:
    """How a run was asked for, besides its configuration."""

    recipe: str | None = None
    gpu: str | None = None
    """Name of a card to choose for instead of the one that is here."""
    auto_micro_batch: bool = False
    """After an out-of-memory, start again with a smaller micro-batch."""


def train(config: Config, run_dir: Path, how: Start | None = None) -> StopRequest:
    """Train from the newest good checkpoint in `run_dir` (or from the start) to the end.

    Returns the request that stopped the run early; it is false where the run came to its end.
    Raises ConfigError, DataError, CheckpointError, MachineError or StabilityError for what the user can mend.
    """
    started, how = time.monotonic(), how or Start()
    set_for_training()
    world_size = parallel.world_size_from_environment()
    hardware = hardware_here(how.gpu)
    facts = check(config, run_dir, world_size, cpu_backend.is_needed())
    vocab_size = vocabulary(config.model, facts)
    config = choose(config, vocab_size, world_size, how.recipe, hardware)
    card = hardware.card if hardware else "cpu"
    config = within_limit(config, run_dir, card)
    check_config(config, facts, world_size, on_cpu=cpu_backend.is_needed())
    stop = StopRequest(started, config.train.time_limit_seconds)
    guarded = out_of_memory_is_an_error(
        config, vocab_size, world_size, run_dir, card=card, take_smaller=how.auto_micro_batch
    )
    with (
        lost_ranks_are_an_error(),
        guarded,
        stop_on_signals(stop),
        held_by_first_rank(run_dir),
        parallel.process_groups(config, run_dir) as ranks,
        running(config, run_dir, facts, ranks, started) as run,
    ):
        with dead_workers_are_an_error():
            loop(run, stop)
        finish(run, stop)
    return stop


def loop(run: Run, stop: StopRequest) -> None:
    """Steps to the end, with a record, a validation and a checkpoint when each is due."""
    config, state = run.config, run.state
    last = last_step(run)
    batches = next_batches(run)
    speed = metrics.Speedometer(config, run.vocab_size, run.ranks, state)
    step_seconds = 0.0
    steps = None if last == sys.maxsize else last - state.step
    bar = console.progress("training", steps, "steps") if run.ranks.is_first else console.no_progress()
    with bar as advance:
        while state.step < last:
            share, must_stop, save_by_clock = consult_clocks(run, stop, step_seconds)
            if must_stop or share >= 1:
                break
            began, before = time.monotonic(), state.step
            spent = share if run.clock else None
            forward = run.observation.forward.timed(forward_step)
            is_recorded = is_due(state.step + 1, config.train.log_every_steps, last)
            with run.observation.model.of_step(run.training.model, run.training.optimizer, is_recorded):
                result = train_step(
                    run.training, batches, forward, run.guard, run.skips.ranges, config, run.ranks, spent
                )
            profiled = run.observation.step_is_done(state.step, result)
            step_seconds += (time.monotonic() - began - step_seconds) * (SMOOTHING if step_seconds else 1.0)
            if result.verdict.action != "go" or not result.updated:
                batches = heed(run, result, batches)
            note = ""
            if is_due(state.step, config.train.log_every_steps, last) and state.step > before:
                note = recording.record_step(run, result, speed)
            advance(state.step - before, note)
            is_rolled_back = state.step <= before
            # before what is true on the first rank alone: all ranks gather weights for it
            drawn = not is_rolled_back and recording.draw_histograms(run)
            if drawn or profiled or is_rolled_back:
                speed.restart(state)
            if is_rolled_back:
                continue
            improved = False
            if is_due(state.step, config.train.validate_every_steps, last):
                improved = recording.validate(run)
                speed.restart(state)
            for kind in run.policy.due(state.step, by_clock=save_by_clock, improved=improved):
                recording.save(run, kind)
                speed.restart(state)
            if run.evaluation and state.step < last and is_due(state.step, config.evaluation.every_steps, last):
                recording.evaluate(run, partial(is_interrupted, run, stop))
                speed.restart(state)
            recording.note_saved(run, run.writer.poll())
    batches.close()


def next_batches(run: Run) -> Batches:
    """The batches from where the run stands."""
    state = run.state
    return run.observation.timed(
        data.train_batches(run.train_data, state.position, state.step, run.skips.ranges, run.config, run.ranks)
    )


def last_step(run: Run) -> int:
    """The step at which this process ends at the latest; a run on a budget has no last step of its own."""
    return run.config.train.stop_at_step or (sys.maxsize if run.clock else run.config.train.steps)


def is_due(step: int, every: int, last: int) -> bool:
    """Whether something done every `every` steps (0: only at the last) is done after `step`."""
    return step == last or (every > 0 and step % every == 0)


def consult_clocks(run: Run, stop: StopRequest, step_seconds: float) -> tuple[float, bool, bool]:
    """Share of the budget that is spent (0 without one), whether to stop, whether a save is due; equal on all ranks."""
    share = save_by_clock = 0.0
    closing = run.writer.last_seconds + run.validation_seconds
    if run.ranks.is_first:
        run.spending.closing_seconds = closing + run.evaluation_seconds or run.spending.closing_seconds
        run.spending.mark()
        save_by_clock = float(run.policy.clock_is_due())
        if run.clock:
            share = run.clock.share(step_seconds)
            warn_of_budget(run)
    stop.look_at_clock(reserve_seconds(run, closing) + step_seconds)
    share, must_stop, save_by_clock = agree(share, float(bool(stop)), save_by_clock)
    return share, bool(must_stop), bool(save_by_clock)


def is_interrupted(run: Run, stop: StopRequest) -> bool:
    """Whether this rank wants an evaluation to be broken off: it was told to stop, or time or budget are at an end.

    Asked after each batch, so that a long evaluation shows that it lives.
    """
    run.mark_time()
    if run.observation.messenger:
        run.observation.messenger.beat()
    stop.look_at_clock(reserve_seconds(run, run.writer.last_seconds + run.validation_seconds))
    return bool(stop) or (run.clock is not None and run.ranks.is_first and run.clock.share(0.0) >= 1)


def reserve_seconds(run: Run, closing: float) -> float:
    """What is kept back of the time limit for the save at its end. `closing`: what the last one took."""
    limit = run.config.train.time_limit_seconds
    unknown = 0.0 if run.writer.last_seconds else min(FIRST_SAVE_SECONDS, limit / 2)
    return max(TIME_LIMIT_PATIENCE * closing, unknown, min(LEAST_RESERVE_SECONDS, limit / 5))


def warn_of_budget(run: Run) -> None:
    """Say once that four fifths are spent."""
    assert run.clock is not None
    if run.clock.should_warn():
        budget = run.config.budget
        spent = run.clock.spent() * budget.amount
        run.event("budget_warning", step=run.state.step, spent=spent, amount=budget.amount, unit=budget.unit)
        run.say(f"warning: {spent:,.2f} of {budget.amount:,.2f} {budget.unit} are spent")


def heed(run: Run, result: StepResult, batches: Batches) -> Batches:
    """Do what the guard said about the last step; returns the batches to go on with."""
    verdict, step = result.verdict, run.state.step
    if verdict.quantity is None:
        run.event("update_skipped", step=step, reason="the loss scale was too high for a gradient")
        return batches
    facts = {
        "step": step,
        "quantity": verdict.quantity,
        "value": verdict.value,
        "median": verdict.median,
        "deviations": verdict.deviations,
    }
    run.event("spike", **facts, action=verdict.action)
    run.say(f"step {step}: {verdict.words()}; stability says: {verdict.action}")
    if verdict.action == "skip":
        run.event("update_skipped", **facts, reason=verdict.words())
    if verdict.action in ("go", "log", "skip"):
        return batches
    return go_back(run, verdict, batches)


def go_back(run: Run, verdict: Verdict, batches: Batches) -> Batches:
    """Roll back and rebuild the batches, or end the run with a diagnosis."""
    recording.wait_for_save(run)
    config, step = run.config, run.state.step
    attempts = rollback.past_attempts(run.skips, config, step)
    if verdict.action == "stop" or len(attempts) >= config.stability.max_attempts:
        error = rollback.give_up(run.folder, verdict, step, attempts, config)
        run.event("diagnosis", step=step, message=str(error))
        raise error
    with run.observation.long_work():
        folder = rollback.target_of(run.checkpoints, attempts, step, config, run.ranks)
    if folder is None:
        run.event("update_skipped", step=step, reason="no checkpoint to go back to yet")
        run.say("no checkpoint to go back to yet: the update is left out")
        return batches
    batches.close()
    with run.observation.long_work(), parameters_in_place(run.training.model):
        facts = rollback.roll_back(folder, run.training, run.skips, verdict, config, run.vocab_size, run.ranks)
    run.event("rollback", **facts)
    run.saved_step = run.state.step
    run.observation.steps.forget()
    if run.log:
        run.log.rewind(run.state.step)
    run.say(
        f"rolled back from step {facts['from_step']} to {facts['to_step']} ({folder.name}), leaving out samples "
        f"{facts['skipped_first']} to {facts['skipped_stop'] - 1}; attempt {facts['attempt']} of "
        f"{config.stability.max_attempts}"
    )
    return next_batches(run)


def finish(run: Run, stop: StopRequest) -> None:
    """Validate and save what the loop has not, and say how it ended."""
    recording.wait_for_save(run)
    (asked,) = agree(float(bool(stop)))  # a signal, and the time limit, may reach one rank alone
    is_stopped, reason = bool(asked), stop.reason or ("a request to another rank" if asked else None)
    # a run that had ended may be started once more
    if not is_stopped and run.validated_step != run.state.step and not first_ranks(recording.has_validation(run)):
        recording.validate(run)
    if run.state.step and run.saved_step != run.state.step:  # before the first step the optimizer has no states
        recording.save_and_wait(run, "last")
    if not is_stopped and run.evaluated_step != run.state.step:
        recording.evaluate(run, lambda: bool(stop))
    closing = run.writer.last_seconds + run.validation_seconds + run.evaluation_seconds
    run.spending.closing_seconds = closing or run.spending.closing_seconds
    run.mark_time()
    how = "stopped" if is_stopped else "end"
    run.event(how, step=run.state.step, reason=reason, seconds=round(run.state.seconds, 3))
    run.say(f"{'stopped' if is_stopped else 'done'} at step {run.state.step} of {run.config.train.steps}: {run.folder}")
    if not is_stopped:
        recording.wait_for_copies(run)
