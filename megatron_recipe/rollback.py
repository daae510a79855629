"""Back to the newest good checkpoint, leaving out the samples from there past the accident."""

import shutil
from pathlib import Path
from typing import Any

from megatron_recipe.batch_schedule import batch_size_at
from megatron_recipe.checkpoint import (
    Training,
    complete_checkpoints,
    delete_checkpoint,
    load_checkpoint,
    newest_good,
    read_marker,
    step_of,
)
from megatron_recipe.config import Config
from megatron_recipe.errors import StabilityError
from megatron_recipe.parallel import Ranks, barrier
from megatron_recipe.skips import Skips
from megatron_recipe.stability import Verdict

WINDOWS_OF_ATTEMPTS = 10


def past_attempts(skips: Skips, config: Config, step: int) -> list[dict[str, Any]]:
    """Rollbacks of the last ten windows before `step`, the oldest first."""
    reach = WINDOWS_OF_ATTEMPTS * config.stability.window_steps
    return [entry for entry in skips.entries if "at_step" in entry and step - entry["at_step"] <= reach]


def target_of(
    checkpoints: Path, attempts: list[dict[str, Any]], step: int, config: Config, ranks: Ranks
) -> Path | None:
    """The checkpoint to go back to: the newest good one, and an older one where that did not help.

    The accident may have begun before it was seen; so when a run falls again within a window of where it fell before,
    it goes back beyond the checkpoint that it went back to.
    """
    newest, _ = newest_good(checkpoints, ranks, before_step=step)
    if attempts and step <= attempts[-1]["at_step"] + config.stability.window_steps:
        older, _ = newest_good(checkpoints, ranks, before_step=attempts[-1]["from_step"])
        return older or newest
    return newest


def roll_back(
    folder: Path, training: Training, skips: Skips, verdict: Verdict, config: Config, vocab_size: int, ranks: Ranks
) -> dict[str, Any]:
    """Load `folder` and leave out the samples from there past the accident. Returns the facts of the event."""
    state = training.state
    at_step, seconds = state.step, state.seconds
    stop = state.position + config.stability.skip_past_steps * batch_size_at(config.batch, at_step)
    first = int(read_marker(folder)["position"])
    attempt = len(past_attempts(skips, config, at_step)) + 1
    entry = {"from_step": step_of(folder), "at_step": at_step, "quantity": verdict.quantity}
    skips.add(first, stop, **entry)
    if ranks.is_first:
        # the file before anything else: killed after this line, the next start leaves out the same samples
        skips.write()
        for later in complete_checkpoints(folder.parent):
            if step_of(later) > step_of(folder):
                delete_checkpoint(later)
        for weights in folder.parent.glob("weights_*"):
            number = weights.name.removeprefix("weights_")  # a copy under a name of the user's own has none
            if number.isdecimal() and int(number) > step_of(folder):
                shutil.rmtree(weights)
    barrier()
    load_checkpoint(folder, training, config, vocab_size)
    state.seconds = seconds  # the time was spent all the same
    return {
        "from_step": at_step,
        "to_step": state.step,
        "skipped_first": first,
        "skipped_stop": stop,
        "attempt": attempt,
        "quantity": verdict.quantity,
    }


def give_up(
    run_dir: Path, verdict: Verdict, step: int, attempts: list[dict[str, Any]], config: Config
) -> StabilityError:
    """The error that ends a run which rolling back does not help or which is to stop at once, with what to look at."""
    if verdict.action == "stop":
        why = "stability says: stop (on_nan, on_loss_spike, on_grad_spike). Where it comes again, the cause is"
    else:
        tried = ", ".join(f"step {entry['at_step']} → {entry['from_step']}" for entry in attempts) or "none"
        limit = f"stability.max_attempts={config.stability.max_attempts}"
        why = f"rollbacks so far ({tried}) did not help, and {limit} are the limit. The cause is then"
    peak = config.schedule.peak_learning_rate
    remedies = [
        f"lower schedule.peak_learning_rate={peak:g} (a half)",
        f"lengthen the warm-up (schedule.warmup_fraction={config.schedule.warmup_fraction:g})",
    ]
    remedies += [] if config.model.qk_norm or config.model.qkv_bias else ["set model.qk_norm=true"]
    remedies += ["set optimizer.beta2=0.95"] if config.optimizer.beta2 > 0.95 else []
    return StabilityError(
        f"step {step}: {verdict.words()}; {why} seldom a stretch of bad text: "
        f"{', '.join(remedies[:-1])}, or {remedies[-1]}; `megatron-recipe data who {run_dir} --step {step}` shows the "
        "text of this step. Then start a new run, or go on from a checkpoint before the trouble by deleting the newer "
        "ones"
    )
