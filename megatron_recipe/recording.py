"""What is written down while a run trains: records of steps, validation losses, what became of checkpoints."""

from megatron_recipe import metrics
from megatron_recipe.checkpoint import marker_facts
from megatron_recipe.checkpoint_policy import prune
from megatron_recipe.checkpoint_writer import Saved
from megatron_recipe.errors import MachineError
from megatron_recipe.train_step import StepResult
from megatron_recipe.training_run import Run
from megatron_recipe.validate_loss import validation_loss


def record_step(run: Run, result: StepResult, speed: metrics.Speedometer) -> str:
    """Write the step's record; returns the console's line."""
    rates = speed.read(run.state)
    run.mark_time()
    if run.log is None:
        return ""
    record = {
        **metrics.position(run.state),
        "loss": result.loss,
        "learning_rate": result.learning_rate,
        "grad_norm": result.grad_norm,
        **rates,
    }
    run.log.metric("train", record)
    return metrics.console_line(record, run.config.train.steps)


def validate(run: Run) -> bool:
    """Compute and record the held-out losses. Returns whether that of the mix is the best so far."""
    state = run.state
    for held_out in run.held_out:
        loss = validation_loss(run.training.model, held_out, run.config, run.ranks)
        run.last_validation[held_out.name] = loss
        record = metrics.loss_record(loss, held_out.bytes_per_token)
        run.mark_time()
        if run.log:
            run.log.metric(held_out.name, {**metrics.position(state), **record})
        label = held_out.name.replace("validation/", "").replace("validation", "held-out")
        run.say(
            f"step {state.step}: {label} loss {loss:.4f}, perplexity {record['perplexity']:.1f}, "
            f"{record['bits_per_byte']:.3f} bits per byte"
        )
    run.validated_step = state.step
    own = run.last_validation.get("validation")
    if own is None or (state.best_loss is not None and own >= state.best_loss):
        return False
    state.best_loss = own
    return True


def save(run: Run, kind: str) -> None:
    """Begin to save a checkpoint; the one before it is waited for, if it is not done."""
    note_saved(run, run.writer.wait())
    run.mark_time()
    facts = marker_facts(run.config, run.vocab_size, run.facts)
    if run.validated_step == run.state.step:
        facts["validation_loss"] = run.last_validation.get("validation")
    note_saved(run, run.writer.begin(run.training, kind, facts))
    run.policy.note_save()


def note_saved(run: Run, saved: Saved | None) -> None:
    """Write down what became of a save, and delete what is no longer kept. A run goes on without a checkpoint."""
    if saved is None:
        return
    if saved.problem:
        run.event("checkpoint_failed", step=saved.step, reason=saved.problem)
        run.say(
            f"warning: no checkpoint of step {saved.step}: {saved.problem}; training goes on, the older ones are whole"
        )
        return
    run.event(
        "checkpoint_saved",
        step=saved.step,
        folder=saved.folder.name,
        kind=saved.kind,
        seconds=round(saved.seconds, 3),
        blocked_seconds=round(saved.blocked_seconds, 3),
        bytes=saved.bytes,
    )
    if run.ranks.is_first:
        prune(run.checkpoints, run.config.checkpoint)


def save_and_wait(run: Run, kind: str) -> None:
    """The last save of a process, which has to be there before it ends. Raises MachineError where it cannot be."""
    save(run, kind)
    saved = run.writer.wait()
    note_saved(run, saved)
    if saved is not None and saved.problem:
        raise MachineError(f"the last checkpoint could not be saved: {saved.problem}")
