"""What is written down while a run trains: records of steps, validation losses, what became of checkpoints."""

import math
import time
from collections.abc import Callable
from typing import Any

from megatron_recipe import metrics
from megatron_recipe.checkpoint import marker_facts
from megatron_recipe.checkpoint_policy import prune
from megatron_recipe.checkpoint_writer import Saved
from megatron_recipe.errors import MachineError
from megatron_recipe.files import read_jsonl
from megatron_recipe.histograms import write_histograms
from megatron_recipe.likelihoods import EvaluationError
from megatron_recipe.overlap import parameters_in_place
from megatron_recipe.precision import loss_scale
from megatron_recipe.sync_background import Copied
from megatron_recipe.train_step import StepResult
from megatron_recipe.training_run import Run
from megatron_recipe.validate_loss import HeldOutSet, validation_losses


def record_step(run: Run, result: StepResult, speed: metrics.Speedometer) -> str:
    """Write the step's record, of the interval since the last one; returns the console's line."""
    seen = run.observation.read(*speed.interval(run.state))
    run.mark_time()
    spent = run.clock.spent() if run.clock and run.ranks.is_first else None
    money = run.spending.money() if run.ranks.is_first else None
    rates = speed.read(run.state, money_spent=money, budget_spent=spent)
    if run.log is None:
        return ""
    record = {
        **metrics.position(run.state),
        "position": run.state.position,
        "loss": result.loss,
        "learning_rate": result.learning_rate,
        "grad_norm": result.grad_norm,
        "loss_scale": loss_scale(run.training.optimizer),
        **rates,
        **seen,
    }
    run.log.metric("train", record)
    tell(run, record)
    return metrics.console_line(record, 0 if run.clock else run.config.train.steps, run.config.budget.currency)


def draw_histograms(run: Run) -> bool:
    """Histograms of weights and gradients, if they are due; all ranks call it. Returns whether they were."""
    every = run.config.logging.histograms_every_steps
    if not every or run.state.step % every:
        return False
    with parameters_in_place(run.training.model):
        if run.log and run.log.tensorboard is not None:
            write_histograms(run.log.tensorboard, run.training.model, run.state.step)
    return True


def tell(run: Run, record: dict[str, Any]) -> None:
    """What a record gives reason to say: a slow rank, and once a day how the run stands."""
    if found := run.observation.stragglers.found:
        run.event("straggler", step=record["step"], **found)
        run.say(
            f"warning: rank {found['rank']} takes {found['ratio_to_median']:.1f} times as long as the others for "
            "its own work: look at its GPU's heat and clocks (doctor), its host and its disk"
        )
    if run.observation.messenger:
        told = ("step", "tokens", "loss", "tokens_per_second", "mfu_full", "eta_seconds", "cost_so_far")
        summary = {name: record[name] for name in told if record.get(name) is not None}
        run.observation.messenger.daily({**summary, "best_loss": run.state.best_loss})


def validate(run: Run) -> bool:
    """Compute and record the held-out losses. Returns whether that of the mix is the best so far."""
    state, began = run.state, time.monotonic()
    for held_out in run.held_out:
        with run.observation.long_work(), parameters_in_place(run.training.model):
            losses = validation_losses(run.training.model, held_out, run.config, run.ranks)
        run.mark_time()
        for measured, loss in losses:
            record_validation(run, measured, loss)
    run.validated_step, run.validation_seconds = state.step, time.monotonic() - began
    own = run.last_validation.get("validation")
    if not improves(own, state.best_loss):
        return False
    state.best_loss = own
    return True


def record_validation(run: Run, held_out: HeldOutSet, loss: float) -> None:
    """Write down the loss of one held-out set, or of a part of one."""
    run.last_validation[held_out.name] = loss
    record = metrics.loss_record(loss, held_out.bytes_per_token)
    if run.log:
        run.log.metric(held_out.name, {**metrics.position(run.state), **record})
    label = held_out.name.replace("validation/", "", 1) if "/" in held_out.name else "held-out"
    run.say(
        f"step {run.state.step}: {label} loss {loss:.4f}, perplexity {record['perplexity']:.1f}, "
        f"{record['bits_per_byte']:.3f} bits per byte"
    )


def evaluate(run: Run, should_stop: Callable[[], bool]) -> None:
    """Score and record the run's benchmarks, if it has any. A run goes on without scores.

    should_stop: asked after each batch; then nothing is recorded.
    """
    if run.evaluation is None:
        return
    step, began = run.state.step, time.monotonic()
    try:
        with run.observation.long_work():
            found = run.evaluation.scores(run.training.model, should_stop)
    except EvaluationError as error:
        run.evaluated_step = step
        run.event("evaluation_failed", step=step, reason=str(error))
        run.say(f"warning: no benchmark scores of step {step}: {error}; training goes on")
        return
    if found is None:
        run.say(f"step {step}: the evaluation is broken off")
        return
    run.evaluated_step, run.evaluation_seconds = step, time.monotonic() - began
    run.mark_time()
    for name, record in found.items():
        if run.log:
            run.log.metric(f"eval/{name}", {**metrics.position(run.state), **record})
    scores = ", ".join(metrics.score_words(name, record) for name, record in found.items())
    run.say(f"step {step}: {scores} ({run.evaluation_seconds:.1f} s)")


def has_validation(run: Run) -> bool:
    """Whether the record of the held-out loss at this step is there, from an earlier process."""
    path = run.folder / "metrics.jsonl"
    records = read_jsonl(path) if run.ranks.is_first and path.is_file() else []
    return any(record["kind"] == "validation" and record["step"] == run.state.step for record in records)


def improves(loss: float | None, best: float | None) -> bool:
    """Whether a held-out loss is the best so far; one that is no number never is."""
    return loss is not None and math.isfinite(loss) and (best is None or loss < best)


def save(run: Run, kind: str, *, is_last: bool = False) -> Saved | None:
    """Begin to save a checkpoint; the one before it is waited for, if it is not done.

    is_last: the process ends after it, so that a failure is an error and no warning.
    Returns what became of it where that is known at once: the disk has no room, or saves are not asynchronous.
    """
    wait_for_save(run)
    run.mark_time()
    facts = marker_facts(run.config, run.vocab_size, run.facts)
    if run.validated_step == run.state.step:
        facts["validation_loss"] = run.last_validation.get("validation")
    with run.observation.long_work(), parameters_in_place(run.training.model):
        saved = run.writer.begin(run.training, kind, facts)
    note_saved(run, saved, is_last=is_last)
    if kind != "weights":  # from which no run goes on: they don't put off the next whole one
        run.policy.note_save()
    return saved


def wait_for_save(run: Run, *, is_last: bool = False) -> Saved | None:
    """Wait for the save that goes on, if one does, and write down what became of it."""
    with run.observation.long_work():
        saved = run.writer.wait()
    note_saved(run, saved, is_last=is_last)
    return saved


def note_saved(run: Run, saved: Saved | None, *, is_last: bool = False) -> None:
    """Write down what became of a save, and delete what is no longer kept. A run goes on without a checkpoint."""
    if run.copies:
        note_copied(run, run.copies.poll())
    if saved is None:
        return
    if saved.problem:
        run.event("checkpoint_failed", step=saved.step, reason=saved.problem)
        if not is_last:
            has_older = run.saved_step >= 0
            rest = "the older ones are whole" if has_older else "nothing is saved yet: a stop now loses everything"
            run.say(f"warning: no checkpoint of step {saved.step}: {saved.problem}; training goes on, {rest}")
        return
    if saved.kind != "weights":
        run.saved_step = saved.step
    run.event(
        "checkpoint_saved",
        step=saved.step,
        folder=saved.folder.name,
        kind=saved.kind,
        seconds=round(saved.seconds, 3),
        blocked_seconds=round(saved.blocked_seconds, 3),
        bytes=saved.bytes,
    )
    if run.copies and saved.kind != "weights":
        run.copies.offer(saved.step)
    if run.ranks.is_first:
        prune(run.checkpoints, run.config.checkpoint)


def note_copied(run: Run, copied: Copied | None, *, is_last: bool = False) -> None:
    """Write down what became of a copy of the run. A run goes on without one."""
    if copied is None:
        return
    place = run.config.checkpoint.sync_to
    if copied.problem is None:
        run.event("run_copied", step=copied.step, place=place, seconds=round(copied.seconds, 3))
        return
    run.event("copy_failed", step=copied.step, place=place, reason=copied.problem)
    again = "the next checkpoint tries again" if not is_last else f"run megatron-recipe sync {run.folder} --to {place}"
    run.say(f"warning: the run could not be copied to {place}: {copied.problem}; {again}")


def wait_for_copies(run: Run) -> None:
    """Wait for the copy of the last checkpoint: after it this machine may be gone."""
    if run.copies:
        run.say(f"waiting for the copy to {run.config.checkpoint.sync_to}")
        with run.observation.long_work():
            for copied in run.copies.wait():
                note_copied(run, copied, is_last=True)


def save_and_wait(run: Run, kind: str) -> None:
    """The last save of a process, which has to be there before it ends. Raises MachineError where it cannot be."""
    saved = save(run, kind, is_last=True) or wait_for_save(run, is_last=True)
    if saved is not None and saved.problem:
        raise MachineError(f"the last checkpoint could not be saved: {saved.problem}")
